/** `flagback rollout`: a candidate's way to traffic. */
import type { Command } from "commander";
import type { RolloutStatus } from "../api-answers.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, addWaitOption, invoke, type RemoteOptions } from "../remote-command.ts";
import { percent, table } from "../text.ts";

interface StartOptions extends RemoteOptions {
  readonly candidate?: string;
  readonly stage?: string;
  readonly reason: string;
}

export function addRollout(program: Command, io: Io): void {
  const rollout = program.command("rollout").summary("start a rollout and see how it goes");

  const start = rollout
    .command("start")
    .summary("give a candidate its first traffic")
    .argument("<alias>")
    .option("--candidate <version>", "may be left out where the alias has exactly one")
    .option("--stage <name>", "begin at this stage instead of the first")
    .option("--reason <text>", "why; kept in the audit log", "");
  addWaitOption(addRemoteOptions(start)).action(async (alias: string, options: StartOptions) => {
    const { api, answerChange } = invoke(io, options);
    const { candidate, stage, reason } = options;
    answerChange(await api.startRollout(alias, { candidate, stage, reason }));
  });

  const status = rollout
    .command("status")
    .summary("show the stage, the traffic and the evidence against the candidate")
    .argument("<alias>");
  addRemoteOptions(status).action(async (alias: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const state = await api.rollout(alias);
    answer(state, () => statusText(state));
  });
}

export function statusText(status: RolloutStatus): string {
  const { alias, candidate, target, state, stage, weight, rolloutNumber, logE, threshold } = status;
  return [
    `${alias}: ${candidate} ${state} at stage ${stage} with ${percent(weight)}, rollout ${rolloutNumber}; a rollback returns to ${target}`,
    "",
    table(
      ["VERSION", "ASSIGNED", "SETTLED", "FAILED", "FAILED %"],
      status.traffic.map((row) => [
        row.version,
        String(row.assigned),
        String(row.settled),
        String(row.failures),
        row.settled === 0 ? "" : `${((100 * row.failures) / row.settled).toFixed(1)}`,
      ]),
      "No traffic yet.",
    ),
    "",
    table(
      ["GUARDRAIL", "RUNS", "BAD", "RATE", "ALLOWED", "LOG E", "SHARE"],
      status.evidence.map((each) => [
        each.guardrail,
        String(each.n),
        String(Number(each.k.toFixed(2))),
        each.rate.toFixed(4),
        String(each.p0),
        each.logE.toFixed(2),
        each.share.toFixed(3),
      ]),
      "No evidence yet.",
    ),
    "",
    logE === null || threshold === null
      ? "Nothing was judged yet."
      : `Together: log e ${logE.toFixed(2)}; at ${threshold.toFixed(2)} it stops.`,
  ].join("\n");
}
