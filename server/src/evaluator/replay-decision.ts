/**
 * Replays a stored decision: the judge on exactly what it was judged on, and the frozen part against the ticks still kept.
 */
import { addCounts, type Counts, freezeThrough, judgeInFull, type Ledger, newLedger } from "@flagback/core";
import type { Decision, GuardrailEvidence } from "@flagback/schemas";

/** Logs of e-values agree to this across machines (BRAIN 2.6). */
const TOLERANCE = 1e-12;
/** The runtimes' own rows are not kept once a tick is frozen; their sum stands under this name. */
const ALL_RUNTIMES = "all";

export interface FrozenTick {
  readonly tick: number;
  readonly candidate: Counts;
  readonly stable: Counts;
}

export interface Replayed {
  readonly decisionId: string;
  readonly reason: Decision["reason"];
  readonly attribution: Decision["attribution"];
  /** True where judging the stored input again gives the stored verdict. */
  readonly identical: boolean;
  /** What differs, each in a sentence; empty where nothing does. */
  readonly differences: readonly string[];
  /** Whether the frozen part follows from the kept ticks; `not_kept` where they don't reach back to its start. */
  readonly prefix: "identical" | "different" | "not_kept" | "empty";
  readonly prefixTicks: number;
  readonly evidence: readonly GuardrailEvidence[];
}

/** A decision by a person has no input to replay. */
export function replayDecision(decision: Decision, kept: readonly FrozenTick[]): Replayed {
  const named = { decisionId: decision.id, reason: decision.reason, attribution: decision.attribution };
  const input = decision.input as Ledger | null | undefined;
  if (!input) {
    const differences = ["it was not judged from outcomes, so there is nothing to replay"];
    return { ...named, identical: false, differences, prefix: "empty", prefixTicks: 0, evidence: [] };
  }
  const { verdict: judged, asking, standing } = judgeInFull(input);
  // People were asked for the one, whatever else was decided since.
  const verdict = decision.askedRound === undefined ? judged : (asking ?? judged);
  const differences: string[] = [];
  if (verdict.kind === "stop") {
    if (verdict.reason !== decision.reason) differences.push(`the reason is ${verdict.reason}, not ${decision.reason}`);
    if (verdict.attribution !== decision.attribution) {
      differences.push(`the attribution is ${verdict.attribution}, not ${decision.attribution}`);
    }
  } else if (decision.attribution !== "shared") differences.push(`the verdict is ${verdict.kind}, not stop`);
  // What was asked again stands on what was counted by then, because a stop stays as it was at its tick.
  const isAskedAgain = (decision.askedRound ?? 1) > 1;
  const { guardrails } = isAskedAgain ? standing : verdict;
  guardrails.forEach((each, index) => {
    const stored = decision.evidence[index];
    const isSame =
      stored?.guardrail === each.guardrail &&
      stored.n === each.n &&
      stored.k === each.k &&
      isClose(stored.logE, each.logE);
    if (!isSame)
      differences.push(`${each.guardrail}: n=${each.n}, k=${each.k}, logE=${each.logE} is not what was stored`);
  });
  const prefixTicks = kept.filter((each) => each.tick <= input.prefix.throughTick);
  return {
    ...named,
    identical: differences.length === 0,
    differences,
    prefix: prefixOf(input, prefixTicks),
    prefixTicks: prefixTicks.length,
    evidence: guardrails,
  };
}

function prefixOf(input: Ledger, kept: readonly FrozenTick[]): Replayed["prefix"] {
  const { assigned } = input.prefix;
  if (assigned.candidate + assigned.stable === 0) return "empty";
  const sum = (arm: "candidate" | "stable") => kept.reduce((total, each) => total + each[arm].assigned, 0);
  if (sum("candidate") !== assigned.candidate || sum("stable") !== assigned.stable) return "not_kept";
  const again = newLedger(input.guardrails, input.alpha, input.stages);
  again.lumpTicks = [...input.lumpTicks];
  if (input.thresholds) again.thresholds = [...input.thresholds];
  for (const { tick, candidate, stable } of kept) {
    addCounts(again, { ...structuredClone(candidate), arm: "candidate", runtime: ALL_RUNTIMES, tick });
    addCounts(again, { ...structuredClone(stable), arm: "stable", runtime: ALL_RUNTIMES, tick });
    freezeThrough(again, tick);
  }
  const isSame = input.prefix.guardrails.every((was, index) => {
    const is = again.prefix.guardrails[index];
    return (
      is !== undefined &&
      allClose(was.candidate, is.candidate) &&
      allClose(was.stable, is.stable) &&
      isClose(was.logE, is.logE)
    );
  });
  return isSame ? "identical" : "different";
}

function allClose(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => isClose(value, b[index] ?? Number.NaN));
}

function isClose(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(a), Math.abs(b));
}
