/** `flagback kill`: the kill switches. */
import type { KillSwitch } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import {
  addReasonOption,
  addRemoteOptions,
  addWaitOption,
  invoke,
  type ReasonOptions,
  type RemoteOptions,
} from "../remote-command.ts";
import { moment, table } from "../text.ts";

interface EngageOptions extends ReasonOptions {
  readonly scope: string;
  readonly until?: string;
}

export function addKill(program: Command, io: Io): void {
  const kill = program.command("kill").summary("engage, release and list kill switches");

  const engage = kill
    .command("engage")
    .summary("stop the actions behind a switch")
    .argument("<key>", "such as writes_disabled")
    .option("--scope <scope>", "* or attribute=value, such as agent=support-agent", "*")
    .option("--until <moment>", "when the server releases it by itself, such as 2030-01-31T10:00:00Z");
  addReasonOption(addWaitOption(addRemoteOptions(engage))).action(async (key: string, options: EngageOptions) => {
    const { api, answerChange } = invoke(io, options);
    const { scope, until, reason } = options;
    answerChange(await api.engage(key, { scope, until, reason }));
  });

  const release = kill
    .command("release")
    .summary("let the actions go on; removes every entry of exactly this scope")
    .argument("<key>")
    .option("--scope <scope>", "the scope as it was engaged", "*");
  addReasonOption(addWaitOption(addRemoteOptions(release))).action(
    async (key: string, options: ReasonOptions & { scope: string }) => {
      const { api, answerChange } = invoke(io, options);
      answerChange(await api.release(key, { scope: options.scope, reason: options.reason }));
    },
  );

  const list = kill.command("list").summary("show every switch and why it is engaged");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const killSwitches = await api.killSwitches();
    answer({ killSwitches }, () => killSwitchTable(killSwitches));
  });
}

/** One row for each reason to be engaged, one for each switch that is released. */
export function killSwitchTable(killSwitches: readonly KillSwitch[]): string {
  const rows = killSwitches.flatMap(({ key, engaged }) =>
    engaged.length === 0
      ? [[key, "released", "", "", "", ""]]
      : engaged.map((entry) => [
          key,
          "ENGAGED",
          entry.scope,
          entry.owner,
          entry.until ? `${moment(entry.at)} until ${moment(entry.until)}` : moment(entry.at),
          entry.reason,
        ]),
  );
  return table(["KEY", "STATE", "SCOPE", "OWNER", "SINCE (UTC)", "REASON"], rows, "No kill switches.");
}
