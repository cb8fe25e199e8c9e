/** `flagback audit`: who did what, newest last. */
import type { Command } from "commander";
import type { Replayed } from "../../evaluator/replay-decision.ts";
import { eventTable } from "../event-text.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions, wholeNumber } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";

const DEFAULT_LIMIT = 20;
/** As many as the server gives at once. */
const MOST_EVENTS = 1_000;

export function addAudit(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("audit")
    .summary("show who did what and why, newest last")
    .option("--limit <n>", "how many of the newest events", wholeNumber(1, MOST_EVENTS), DEFAULT_LIMIT)
    .option("--alias <name>", "only what happened to this alias")
    .option("--decision <id>", "judge a stop again from what it was judged on, and say whether it is identical");
  addRemoteOptions(command).action(
    async (options: RemoteOptions & { limit: number; alias?: string; decision?: string }) => {
      const { api, answer } = invoke(io, options);
      if (options.decision !== undefined) {
        const replayed = await api.replay(options.decision);
        answer(replayed, () => replayText(replayed));
        if (!replayed.identical) setStatus(EXIT.refused);
        return;
      }
      const target = options.alias === undefined ? undefined : `alias:${options.alias}`;
      const events = await api.audit({ limit: options.limit, target });
      answer({ events }, () => eventTable(events));
    },
  );
}

function replayText(replayed: Replayed): string {
  const prefix = {
    identical: `the ${replayed.prefixTicks} frozen ticks before them give the stored prefix`,
    different: "the frozen ticks before them do NOT give the stored prefix",
    not_kept: "the frozen ticks before them are no longer all kept",
    empty: "there was no frozen tick before them",
  }[replayed.prefix];
  return [
    replayed.evidence.length === 0
      ? `Decision ${replayed.decisionId} can't be replayed.`
      : `Decision ${replayed.decisionId}: ${replayed.identical ? "identical" : "NOT identical"}; ${prefix}.`,
    ...replayed.differences.map((difference) => `  ${difference}`),
    ...replayed.evidence.map(
      (each) => `  ${each.guardrail}: ${each.k} of ${each.n} bad, log e ${each.logE.toFixed(9)}`,
    ),
    "",
  ].join("\n");
}
