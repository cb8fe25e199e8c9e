/** `flagback decisions`, `flagback approve`, `flagback reject`: what the brain asks people, and their answers. */
import { type AskedDecision, SHORT_ID_LENGTH } from "@flagback/schemas";
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

const ANSWERS = [
  ["approve", "say yes to the rollback that a decision asks for"],
  ["reject", "say no to it: the rollout goes on, and what the decision engaged is released"],
] as const;

export function addDecisions(program: Command, io: Io): void {
  const decisions = program
    .command("decisions")
    .summary("show the rollbacks that wait for your approval")
    .option("--all", "also those that are closed");
  addRemoteOptions(decisions).action(async (options: RemoteOptions & { readonly all?: boolean }) => {
    const { api, answer } = invoke(io, options);
    const found = await api.decisions(options.all ? undefined : "open");
    answer({ decisions: found }, () => decisionsText(found));
  });

  for (const [kind, summary] of ANSWERS) {
    const command = program.command(kind).summary(summary).argument("<decision>", "its id, or the beginning of it");
    addReasonOption(addWaitOption(addRemoteOptions(command))).action(
      async (decision: string, options: ReasonOptions) => {
        const { api, answerChange } = invoke(io, options);
        answerChange(await api[kind](decision, options.reason));
      },
    );
  }
}

function decisionsText(decisions: readonly AskedDecision[]): string {
  const rows = table(
    ["DECISION", "STATE", "ROLLBACK", "STAGE", "REASON", "DEADLINE (UTC)", "WITHOUT AN ANSWER"],
    decisions.map((asked) => [
      asked.id.slice(0, SHORT_ID_LENGTH),
      asked.state,
      `${asked.candidate} -> ${asked.target}`,
      asked.stage,
      asked.reason,
      moment(asked.deadline),
      asked.atDeadline === "rollback" ? "rolled back" : "goes on",
    ]),
    "Nothing waits for an approval.",
  );
  const open = decisions.filter(({ state }) => state === "open");
  const asks = open.map(({ id, summary }) => `${id.slice(0, SHORT_ID_LENGTH)}: ${summary}`);
  return [rows, ...(asks.length > 0 ? ["", ...asks] : [])].join("\n");
}
