/** `flagback runtimes`: who is connected, and which revision each has applied. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { millis, moment, table } from "../text.ts";

export function addRuntimes(program: Command, io: Io): void {
  const command = program.command("runtimes").summary("show the connected runtimes and what each has applied");
  addRemoteOptions(command).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const runtimes = await api.runtimes();
    answer({ runtimes }, () =>
      table(
        ["TOKEN", "INSTANCE", "SDK", "SINCE (UTC)", "BY", "REVISION", "APPLIED IN", "LEASE"],
        runtimes.map((runtime) => [
          runtime.tokenName,
          runtime.instance.slice(0, 8),
          runtime.sdk,
          moment(runtime.connectedAt),
          runtime.path ?? "stream",
          runtime.appliedRevision === null ? "none yet" : String(runtime.appliedRevision),
          runtime.lastAppliedMs === null ? "" : millis(runtime.lastAppliedMs),
          runtime.leaseLive ? "live" : "lapsed",
        ]),
        "No runtime is connected.",
      ),
    );
  });
}
