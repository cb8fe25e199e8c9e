/**
 * What of a rollout only memory holds, for the incident that may end it: how its runs failed, which came last, and how many
 * each stage had. Since the server's start, because none of it decides anything.
 */
import { type Ledger, MILLIONTHS } from "@flagback/core";
import type { Observed, Outcome } from "@flagback/schemas";

/** Outcomes kept as they came. */
const LAST_OUTCOMES = 20;
/** Kinds of errors, and tools, that are told apart; what comes beyond is counted together. */
const MAX_KINDS = 50;
const OTHER = "other";
/** Runtimes that a snapshot names. */
const MAX_RUNTIMES = 50;

/** What a version's outcomes said beyond what is judged. */
export class OutcomeNotes {
  readonly #errors = new Map<string, number>();
  readonly #tools = new Map<string, number>();
  readonly #last: Outcome[] = [];

  note(outcome: Outcome): void {
    this.#last.push(outcome);
    // Seldom, because it moves what stays.
    if (this.#last.length >= 4 * LAST_OUTCOMES) this.#last.splice(0, this.#last.length - LAST_OUTCOMES);
    if (outcome.status !== "failure" && outcome.status !== "timeout") return;
    const { errorOrigin, errorType, status, attributes } = outcome;
    countIn(this.#errors, [errorOrigin, errorType ?? status].filter((part) => part !== undefined).join(": "));
    const tool = attributes?.tool;
    if (tool !== undefined) countIn(this.#tools, tool);
  }

  get errors(): Observed["errors"] {
    return mostFirst(this.#errors);
  }

  get tools(): Observed["tools"] {
    return mostFirst(this.#tools);
  }

  get lastOutcomes(): readonly Outcome[] {
    return this.#last.slice(-LAST_OUTCOMES);
  }
}

/** How many runs each arm had when a stage began. */
export interface StageMark {
  readonly stage: string;
  readonly candidate: number;
  readonly stable: number;
}

/** Runs while each stage lasted. */
export function trafficByStage(
  marks: readonly StageMark[],
  now: { readonly candidate: number; readonly stable: number },
): Observed["stages"] {
  const first = marks[0] ?? now;
  const earlier = { stage: null, candidate: first.candidate, stable: first.stable };
  const stages = marks.map((mark, index) => {
    const end = marks[index + 1] ?? now;
    return { stage: mark.stage, candidate: end.candidate - mark.candidate, stable: end.stable - mark.stable };
  });
  return earlier.candidate + earlier.stable > 0 ? [earlier, ...stages] : stages;
}

/** The candidate's runs by runtime: those in the frozen part and those in open ticks. */
export function candidateByRuntime({ guardrails, prefix, ticks }: Ledger): Observed["runtimes"] {
  const found = new Map<string, { runs: number; bad: number[] }>();
  const add = (runtime: string, runs: number, bad: readonly number[]) => {
    const sum = found.get(runtime) ?? { runs: 0, bad: guardrails.map(() => 0) };
    sum.runs += runs;
    sum.bad = sum.bad.map((each, g) => each + (bad[g] ?? 0));
    found.set(runtime, sum);
  };
  for (const { runtime, isShared, assigned, bad } of prefix.runtimes) {
    add(isShared ? `others (${runtime})` : runtime, assigned, bad);
  }
  for (const { arms } of ticks) {
    for (const counts of arms.candidate.runtimes) {
      add(
        counts.runtime,
        counts.assigned,
        counts.guardrails.map((each) => each.bad),
      );
    }
  }
  return [...found]
    .filter(([, { runs }]) => runs > 0)
    .sort(([, a], [, b]) => b.runs - a.runs)
    .slice(0, MAX_RUNTIMES)
    .map(([runtime, { runs, bad }]) => ({
      runtime,
      runs,
      bad: Object.fromEntries(guardrails.map(({ name }, g) => [name, (bad[g] ?? 0) / MILLIONTHS])),
    }));
}

function countIn(counts: Map<string, number>, name: string): void {
  const key = counts.has(name) || counts.size < MAX_KINDS ? name : OTHER;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function mostFirst(counts: ReadonlyMap<string, number>): Observed["errors"] {
  return [...counts].map(([name, n]) => ({ name, n })).sort((a, b) => b.n - a.n || (a.name < b.name ? -1 : 1));
}
