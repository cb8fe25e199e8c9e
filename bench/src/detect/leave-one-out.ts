/**
 * What it costs in delay that one runtime can't decide alone: a candidate that is broken from the start, its runs spread at
 * random over so many runtimes, judged by the product's ledger in ticks of one outcome.
 */
import { type CompiledGuardrail, judge, newLedger, recordAssigned, recordOutcome } from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import { nextIsBad, xoshiro128 } from "../rng.ts";
import type { Experiment } from "./experiment.ts";
import { P0 } from "./peers.ts";
import { advanceProduct, startProduct, THRESHOLDS } from "./product.ts";

export const SPREAD_RATES = [0.1, 0.3, 0.6] as const;
export const RUNTIME_COUNTS = [1, 2, 3, 10, 50] as const;
export const WITHOUT_RULE = "without the rule";

/** Outcomes after which nearly every candidate has been stopped, by rate; a later stop counts as one here. */
export const HORIZONS = { 0.1: 4_000, 0.3: 400, 0.6: 100 } as const;

const GUARDRAIL: CompiledGuardrail = {
  name: "error_rate",
  kind: "error_rate",
  p0: P0,
  mode: "automatic",
  action: "rollback",
  share: 1,
};
const SUCCESS: Outcome = { runId: "run-1", alias: "agent", version: "agent@2", status: "success" };
const FAILURE: Outcome = { ...SUCCESS, status: "failure" };

/** Column of the delay with so many runtimes. */
export function withRuntimes(count: number): string {
  return count === 1 ? "1 runtime" : `${count} runtimes`;
}

export function leaveOneOutExperiment(rate: (typeof SPREAD_RATES)[number]): Experiment {
  const horizon = HORIZONS[rate];
  return {
    id: `leave one out ${rate}`,
    seedBase: 11_000_000,
    full: 1_000,
    quick: 30,
    columns: [WITHOUT_RULE, ...RUNTIME_COUNTS.map(withRuntimes)],
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const bits = Uint8Array.from({ length: horizon }, () => (nextIsBad(next, rate) ? 1 : 0));
      // Where each run lands, as a fraction of the runtimes, so that all numbers of them share one stream.
      const places = Float64Array.from({ length: horizon }, () => next() / 2 ** 32);
      const plain = startProduct(THRESHOLDS.slice(0, 1));
      advanceProduct(plain, bits, horizon);
      return [
        Math.min(plain.stops[0] as number, horizon),
        ...RUNTIME_COUNTS.map((count) => stopWith(count, bits, places)),
      ];
    },
  };
}

function stopWith(runtimes: number, bits: Uint8Array, places: Float64Array): number {
  const ledger = newLedger([GUARDRAIL], 0.01, 1);
  for (let tick = 0; tick < bits.length; tick++) {
    const runtime = `runtime-${Math.floor((places[tick] as number) * runtimes)}`;
    recordAssigned(ledger, "candidate", runtime, tick, 1);
    recordOutcome(ledger, "candidate", runtime, tick, bits[tick] === 1 ? FAILURE : SUCCESS);
  }
  // Judging goes through the ticks in order and answers the first at which it stops.
  const verdict = judge(ledger);
  return verdict.kind === "stop" && verdict.tick !== null ? verdict.tick + 1 : bits.length;
}
