/**
 * What the brain would have done on recorded outcomes. Pure but for the rows it is handed.
 */
import {
  type Arm,
  compileGuardrails,
  freezeThrough,
  judge,
  newLedger,
  recordAssigned,
  recordOutcome,
  type StopVerdict,
  type Verdict,
} from "@flagback/core";
import { durationMs, FlagbackError, type Outcome, type Policy } from "@flagback/schemas";

const TICK_MS = 1_000;
/** Rows without times are folded into the ledger's prefix in groups, because each fold has a fixed cost. */
const GROUP_ROWS = 512;
/** One runtime reports the whole recording, so no runtime is left out against another. */
const REPORTER = "recording";

export interface BacktestRow {
  readonly outcome: Outcome;
  readonly startedMs: number | undefined;
}

/** Where the evidence stood after a candidate outcome. */
export interface TracePoint {
  /** 1-based among the candidate's outcomes. */
  readonly index: number;
  readonly logE: number;
  readonly threshold: number;
  readonly guardrails: Readonly<Record<string, number>>;
}

export interface BacktestReport {
  /** 1-based index of the candidate outcome that completed the evidence, or null. */
  readonly stoppedAt: number | null;
  readonly verdict: Verdict;
  /** Candidate outcomes in the recording, and stable's. */
  readonly outcomes: number;
  readonly stableOutcomes: number;
  /** After the stop: what would not have happened. */
  readonly prevented: { readonly runs: number; readonly badRuns: number; readonly writes: number };
  /** Rows older than what was judged already: counted, not judged. */
  readonly late: number;
}

export class Backtest {
  readonly #ledger;
  readonly #candidate: string | undefined;
  readonly #timeoutTicks: number;
  readonly #trace: ((point: TracePoint) => void) | undefined;
  readonly #prevented = { runs: 0, badRuns: 0, writes: 0 };
  #firstMs: number | undefined;
  #tick = -1;
  #outcomes = 0;
  #stableOutcomes = 0;
  #late = 0;
  /** Candidate outcomes that are not folded in yet, with their index. */
  #group: { readonly tick: number; readonly index: number; readonly outcome: Outcome }[] = [];
  #stop: { readonly index: number; readonly verdict: StopVerdict } | undefined;

  /**
   * `candidate` is the version to judge; without it a row's `arm` says, and a row without arm is the candidate's.
   * @throws FlagbackError `policy_invalid` or `guardrail_unsupported`.
   */
  constructor(
    policy: Policy,
    options: { readonly candidate?: string; readonly onTrace?: (point: TracePoint) => void } = {},
  ) {
    const compiled = compileGuardrails(policy);
    if (!compiled.ok) throw new FlagbackError(compiled.refusal);
    this.#ledger = newLedger(compiled.guardrails, policy.alpha, 1);
    this.#timeoutTicks = Math.ceil(durationMs(policy.outcomeTimeout) / TICK_MS);
    this.#candidate = options.candidate;
    this.#trace = options.onTrace;
  }

  add({ outcome, startedMs }: BacktestRow): void {
    const arm = this.#armOf(outcome);
    if (arm === "candidate") this.#outcomes += 1;
    else this.#stableOutcomes += 1;
    if (this.#stop) {
      if (arm === "candidate") this.#countPrevented(outcome);
      return;
    }
    const tick = this.#tickOf(startedMs);
    if (tick <= this.#ledger.prefix.throughTick) {
      this.#late += 1;
      return;
    }
    recordAssigned(this.#ledger, arm, REPORTER, tick, 1);
    recordOutcome(this.#ledger, arm, REPORTER, tick, outcome);
    if (startedMs !== undefined && tick > this.#tick) freezeThrough(this.#ledger, tick - this.#timeoutTicks - 1);
    this.#tick = Math.max(this.#tick, tick);
    if (arm === "candidate") this.#group.push({ tick, index: this.#outcomes, outcome });
    const isWhole = startedMs === undefined && this.#ledger.ticks.length >= GROUP_ROWS;
    if (isWhole) freezeThrough(this.#ledger, tick);
    if (isWhole || this.#trace || (startedMs !== undefined && arm === "candidate")) this.#look();
  }

  /** The report on everything added so far. */
  finish(): BacktestReport {
    if (!this.#stop) this.#look();
    return {
      stoppedAt: this.#stop?.index ?? null,
      verdict: this.#stop?.verdict ?? judge(this.#ledger),
      outcomes: this.#outcomes,
      stableOutcomes: this.#stableOutcomes,
      prevented: { ...this.#prevented },
      late: this.#late,
    };
  }

  #look(): void {
    const verdict = judge(this.#ledger);
    const group = this.#group;
    this.#trace?.(tracePoint(this.#outcomes, verdict));
    this.#group = [];
    if (verdict.kind !== "stop") return;
    // With times the tick is a second, and the evidence was complete when the row that we look at came.
    const decider = this.#firstMs === undefined ? group.find((each) => each.tick === verdict.tick) : group.at(-1);
    this.#stop = { index: decider?.index ?? this.#outcomes, verdict };
    for (const { index, outcome } of group) if (index > this.#stop.index) this.#countPrevented(outcome);
  }

  #armOf({ arm, version }: Outcome): Arm {
    if (arm !== undefined) return arm;
    return this.#candidate === undefined || version === this.#candidate ? "candidate" : "stable";
  }

  /** Without times each row is a tick of its own. */
  #tickOf(startedMs: number | undefined): number {
    if (startedMs === undefined) return this.#tick + 1;
    this.#firstMs ??= startedMs - this.#timeoutTicks * TICK_MS;
    return Math.max(0, Math.floor((startedMs - this.#firstMs) / TICK_MS));
  }

  #countPrevented(outcome: Outcome): void {
    this.#prevented.runs += 1;
    this.#prevented.writes += outcome.writes ?? 0;
    if (outcome.status === "failure" || outcome.status === "timeout") this.#prevented.badRuns += 1;
  }
}

function tracePoint(index: number, { logE, threshold, guardrails }: Verdict): TracePoint {
  return {
    index,
    logE,
    threshold,
    guardrails: Object.fromEntries(guardrails.map((each) => [each.guardrail, each.logE])),
  };
}
