/**
 * Replays a stored decision: the judge on exactly what it was judged on, and the frozen part against the ticks still kept.
 */
import { judgeInFull, type Ledger } from "@flagback/core";
import type { Decision, GuardrailEvidence } from "@flagback/schemas";
import { isClose, type ReadTicks, type ReplayedPrefix, replayPrefix } from "./replay-prefix.ts";

export interface Replayed {
  readonly decisionId: string;
  readonly reason: Decision["reason"];
  readonly attribution: Decision["attribution"];
  /** True where judging the stored input again gives the stored verdict. */
  readonly identical: boolean;
  /** What differs, each in a sentence; empty where nothing does. */
  readonly differences: readonly string[];
  readonly prefix: ReplayedPrefix["prefix"];
  readonly prefixTicks: number;
  readonly evidence: readonly GuardrailEvidence[];
}

/** A decision by a person has no input to replay. */
export async function replayDecision(decision: Decision, readTicks: ReadTicks): Promise<Replayed> {
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
  return {
    ...named,
    identical: differences.length === 0,
    differences,
    ...(await replayPrefix(input, readTicks)),
    evidence: guardrails,
  };
}
