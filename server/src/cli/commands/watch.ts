/** `flagback watch`: what happens, as it happens. */
import type { Command } from "commander";
import { eventLine } from "../event-text.ts";
import { followAudit } from "../follow-audit.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions, wholeNumber } from "../remote-command.ts";

export function addWatch(program: Command, io: Io): void {
  const command = program
    .command("watch")
    .summary("show what happens, as it happens, until Ctrl-C")
    .description("Follows the audit log. With --json each event is one line of JSON. An absent server is waited for.")
    .option("--alias <name>", "only what happens to this alias")
    .option("--after <id>", "begin after this event instead of now", wholeNumber(0, Number.MAX_SAFE_INTEGER));
  addRemoteOptions(command).action(async (options: RemoteOptions & { alias?: string; after?: number }) => {
    const { api, answer } = invoke(io, options);
    const target = options.alias === undefined ? undefined : `alias:${options.alias}`;
    const after: number = options.after ?? (await api.audit({ limit: 1 })).at(-1)?.id ?? 0;
    const signal = io.untilInterrupted();
    const onUnreachable = (error: Error) => io.stderr.write(`${error.message} Trying on.\n`);
    for await (const event of followAudit(api, { after, target, signal, onUnreachable })) {
      answer(event, () => eventLine(event));
    }
  });
}
