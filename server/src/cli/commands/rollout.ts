/** `flagback rollout`: a candidate's way to traffic. */
import { durationMs, type GateAnswer, Percent, SHORT_ID_LENGTH } from "@flagback/schemas";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { RolloutStatus } from "../api-answers.ts";
import { awaitRollout } from "../await-rollout.ts";
import type { Io } from "../io.ts";
import {
  addReasonOption,
  addRemoteOptions,
  addWaitOption,
  duration,
  invoke,
  type ReasonOptions,
  type RemoteOptions,
} from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { percent, table } from "../text.ts";

interface StartOptions extends RemoteOptions {
  readonly candidate?: string;
  readonly stage?: string;
  readonly reason: string;
  readonly bypassGate?: boolean;
}

interface AdvanceOptions extends ReasonOptions {
  readonly bypassGate?: boolean;
  readonly from?: string;
}

/** What moves a rollout that is under way, beside `flagback rollback`. */
const STEPS = [
  ["pause", "hold the weights where they are; the evidence is still judged"],
  ["resume", "go on after a pause"],
  ["promote", "make the candidate the stable version, with all the traffic"],
] as const;

interface StatusOptions extends Omit<RemoteOptions, "wait"> {
  readonly wait?: boolean;
  readonly timeout: string;
}

export function addRollout(program: Command, io: Io, setStatus: (status: number) => void): void {
  const rollout = program.command("rollout").summary("start a rollout, move it on, and see how it goes");

  const start = rollout
    .command("start")
    .summary("give a candidate its first traffic")
    .argument("<alias>")
    .option("--candidate <version>", "may be left out where the alias has exactly one")
    .option("--stage <name>", "begin at this stage instead of the first")
    .option("--reason <text>", "why; kept in the audit log", "")
    .option("--bypass-gate", "start although the drill is missing that the policy demands; needs a reason");
  addWaitOption(addRemoteOptions(start)).action(async (alias: string, options: StartOptions) => {
    const { api, answerChange } = invoke(io, options);
    const { candidate, stage, reason, bypassGate } = options;
    answerChange(await api.startRollout(alias, { candidate, stage, reason, bypassGate }));
  });

  const advance = rollout
    .command("advance")
    .summary("move to the next stage, if the gate is open")
    .description("Where somebody else advanced it meanwhile, this changes nothing: no stage is passed by unseen.")
    .argument("<alias>")
    .option("--from <stage>", "the stage that you saw it at; default: the one it is at now")
    .option("--bypass-gate", "advance although the gate is closed; what it said is recorded");
  addReasonOption(addWaitOption(addRemoteOptions(advance))).action(async (alias: string, options: AdvanceOptions) => {
    const { api, answerChange } = invoke(io, options);
    const { reason, bypassGate = false } = options;
    // Without a rollout there is no stage, and the server says what is possible instead.
    const fromStage = options.from ?? (await api.alias(alias)).rollout?.stage;
    answerChange(await api.advance(alias, { reason, bypassGate, ...(fromStage === undefined ? {} : { fromStage }) }));
  });

  const forward = rollout
    .command("forward")
    .summary("roll forward: bring a fix up on the fast track")
    .description(
      "Starts a rollout of a fixed version on the policy's fast track, past an open incident and the ordinary stages. " +
        "What it passes by is recorded, and people are alerted. A locked version never goes.",
    )
    .argument("<alias>")
    .argument("<version>", "the fix, registered")
    .option("--percent <number>", "begin with this much of the traffic", percentage);
  addReasonOption(addWaitOption(addRemoteOptions(forward))).action(
    async (alias: string, version: string, options: ReasonOptions & { readonly percent?: number }) => {
      const { api, answerChange } = invoke(io, options);
      const { reason, percent: share } = options;
      answerChange(
        await api.rollForward(alias, { version, reason, ...(share === undefined ? {} : { percent: share }) }),
      );
    },
  );

  for (const [step, summary] of STEPS) {
    const command = rollout.command(step).summary(summary).argument("<alias>");
    addReasonOption(addWaitOption(addRemoteOptions(command))).action(async (alias: string, options: ReasonOptions) => {
      const { api, answerChange } = invoke(io, options);
      answerChange(await api[step](alias, options.reason));
    });
  }

  const gate = rollout
    .command("gate")
    .summary("show what is asked before the next stage: each condition with yes or no, and why")
    .argument("<alias>");
  addRemoteOptions(gate).action(async (alias: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const state = await api.gate(alias);
    answer(state, () => gateText(state));
  });

  const status = rollout
    .command("status")
    .summary("show the stage, the traffic and the evidence against the candidate")
    .argument("<alias>")
    .option("--wait", "until it is promoted or rolled back")
    .addOption(new Option("--timeout <time>", "with --wait: how long at most").default("30m").argParser(duration))
    .addHelpText(
      "after",
      "\nWith --wait the exit status says how it ended: 0 promoted, 1 rolled back, 4 not yet, 3 no server answers.",
    );
  addRemoteOptions(status).action(async (alias: string, { wait, timeout, ...options }: StatusOptions) => {
    const { api, answer } = invoke(io, options);
    if (!wait) {
      const state = await api.rollout(alias);
      return answer(state, () => statusText(state));
    }
    const onUnreachable = (error: Error) => io.stderr.write(`${error.message} Trying on.\n`);
    const state = await awaitRollout(api, alias, { timeoutMs: durationMs(timeout), onUnreachable });
    answer(state, () => `${statusText(state)}\n\n${RESULT_TEXT[state.waitedFor.result ?? "none"]}`);
    setStatus(RESULT_STATUS[state.waitedFor.result ?? "none"]);
  });
}

/** Nothing where nobody checks. */
function syntheticText({ synthetic = [] }: RolloutStatus): string[] {
  if (synthetic.length === 0) return [];
  const rows = synthetic.map((each) => [
    each.version,
    String(each.checks),
    String(each.failures),
    String(each.failuresInARow),
    each.lastFailure ?? "",
  ]);
  return ["", table(["SYNTHETIC CHECKS OF", "CHECKS", "FAILED", "IN A ROW", "LAST FAILURE"], rows, "")];
}

const RESULT_STATUS = { promoted: EXIT.done, rolled_back: EXIT.refused, none: EXIT.timedOut } as const;
const RESULT_TEXT = {
  promoted: "It is promoted.",
  rolled_back: "It is rolled back.",
  none: "It is neither promoted nor rolled back yet.",
} as const;

function percentage(text: string): number {
  const parsed = Percent.safeParse(Number(text));
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError("Give a percentage above 0 and up to 100, such as 25.");
}

function gateText({ alias, candidate, stage, next, isOpen, advance, conditions }: GateAnswer): string {
  const closed = conditions.filter(({ isMet }) => !isMet).length;
  const open = advance === "auto" ? "open; the brain goes on by itself" : "open";
  const leadsTo = next === null ? "nothing follows" : next === "promote" ? "next: promote" : `next: stage ${next}`;
  return [
    `${alias}: ${candidate} at stage ${stage}, ${leadsTo}. The gate is ${isOpen ? open : `closed by ${closed} of ${conditions.length} conditions`}.`,
    "",
    table(
      ["CONDITION", "MET", "WHY"],
      conditions.map(({ condition, isMet, why }) => [condition.replaceAll("_", " "), isMet ? "yes" : "no", why]),
      "Nothing is asked.",
    ),
  ].join("\n");
}

function statusText(status: RolloutStatus): string {
  const { alias, candidate, target, state, stage, weight, rolloutNumber, logE, threshold } = status;
  return [
    `${alias}: ${candidate} ${state} at stage ${stage} with ${percent(weight)}, rollout ${rolloutNumber}; a rollback returns to ${target}`,
    ...(status.hold ? [`Held since ${status.hold.since}: ${status.hold.summary}`] : []),
    ...(status.openDecision ? [approvalText(status.openDecision)] : []),
    ...(status.explanation ? [status.explanation] : []),
    ...(status.heldBackBy ? [`One runtime alone would decide: ${status.heldBackBy}.`] : []),
    "",
    table(
      ["VERSION", "ASSIGNED", "SETTLED", "FAILED", "FAILED %", "FEEDBACK", "QUALITY"],
      status.traffic.map((row) => {
        const said = status.feedback.find((each) => each.version === row.version);
        return [
          row.version,
          String(row.assigned),
          String(row.settled),
          String(row.failures),
          row.settled === 0 ? "" : `${((100 * row.failures) / row.settled).toFixed(1)}`,
          String(said?.count ?? 0),
          said?.quality == null ? "" : said.quality.toFixed(2),
        ];
      }),
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
    ...syntheticText(status),
    "",
    logE === null || threshold === null
      ? "Nothing was judged yet."
      : `Together: log e ${logE.toFixed(2)}; at ${threshold.toFixed(2)} it stops.`,
  ].join("\n");
}

function approvalText(decision: string): string {
  const id = decision.slice(0, SHORT_ID_LENGTH);
  return `It waits for your answer: flagback approve ${id} --reason "...", or flagback reject ${id} --reason "..."`;
}
