/** `flagback audit`: who did what, newest last. */
import type { Command } from "commander";
import { eventTable } from "../event-text.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions, wholeNumber } from "../remote-command.ts";

const DEFAULT_LIMIT = 20;
/** As many as the server gives at once. */
const MOST_EVENTS = 1_000;

export function addAudit(program: Command, io: Io): void {
  const command = program
    .command("audit")
    .summary("show who did what and why, newest last")
    .option("--limit <n>", "how many of the newest events", wholeNumber(1, MOST_EVENTS), DEFAULT_LIMIT)
    .option("--alias <name>", "only what happened to this alias");
  addRemoteOptions(command).action(async (options: RemoteOptions & { limit: number; alias?: string }) => {
    const { api, answer } = invoke(io, options);
    const target = options.alias === undefined ? undefined : `alias:${options.alias}`;
    const events = await api.audit({ limit: options.limit, target });
    answer({ events }, () => eventTable(events));
  });
}
