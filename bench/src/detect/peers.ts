/**
 * Models of other tools' documented decision rules on the same 0/1 outcomes, not runs of those tools. "Documented" is the
 * rule with its documentation's settings and a 5 % limit; "retuned" keeps its shape and raises only how much it takes to
 * stop, to the least that holds the contract of {@link CONTRACT}. retune.ts derives those and the full run checks them.
 */
import type { Stream } from "./streams.ts";

/** The limit that every rule here guards. */
export const P0 = 0.05;
/** What "retuned" means: at most this share of candidates exactly at the limit is rolled back within so many outcomes. */
export const CONTRACT = { falseRate: 0.01, outcomes: 100_000 } as const;

export type Family = "naive" | "argo" | "flagger" | "window" | "tombstone" | "ztest" | "sequence";

export interface Peer {
  readonly name: string;
  readonly family: Family;
  readonly tuning: "documented" | "retuned" | "hindsight";
  /** Number of the outcome at which it stops, `Infinity` where it does not. Looks only where the rule can change its mind. */
  readonly stop: (stream: Stream) => number;
  /** The same, looking after every outcome. The tests hold the two equal. */
  readonly plainStop: (stream: Stream) => number;
}

type Named = Pick<Peer, "name" | "family" | "tuning">;
/** Whether the rule stops after n outcomes. */
type IsBroken = (n: number, badAmong: Int32Array) => boolean;

/** The retuned settings: how much it takes to stop, of each family, found by retune.ts. */
export const RETUNED = {
  /** Cumulative rate that must be exceeded, with at least 100 outcomes; on a grid of half a percent. */
  naiveRate: 0.12,
  /** Bad outcomes of 60 that fail an interval: Argo stops at the fourth failed interval, Flagger at the fifth. */
  argoBad: 11,
  flaggerBad: 10,
  /** Bad outcomes of the last 100. */
  windowBad: 19,
  /** Bad outcomes of 100 in a row that share no outcome with the next 100. */
  tombstoneBad: 17,
  /** Standard errors above the limit; on a grid of 0.05. */
  zScore: 3.95,
  /** The confidence sequence's alpha; on a grid of 0.001. */
  sequenceAlpha: 0.014,
  /** Windows of other sizes, for an operator who knows beforehand how bad it will be. */
  window50Bad: 14,
  window150Bad: 23,
  window500Bad: 51,
} as const;

/** Argo Rollouts, analysis: `failureLimit` failed measurements are tolerated; 0 unless set, 3 in its documentation's example. */
function argo(named: Named, interval: number, minBad: number, failureLimit: number): Peer {
  return intervalRule(named, interval, minBad, failureLimit + 1);
}

/** Flagger, canary analysis: rolls back at `threshold` failed checks, which it never forgives; 5 in its documentation. */
function flagger(named: Named, interval: number, minBad: number, threshold: number): Peer {
  return intervalRule(named, interval, minBad, threshold);
}

/** Tombstone: more than 5 % errors in a window of 100 requests, then the next 100. */
function tombstone(named: Named, minBad: number): Peer {
  return intervalRule(named, 100, minBad, 1);
}

/** resilience4j, COUNT_BASED: the failure rate of the last 100 calls, once there are 100, is at or above its threshold. */
function slidingWindow(named: Named, size: number, minBad: number): Peer {
  return lookRule(named, size, true, (n, badAmong) => at(badAmong, n) - at(badAmong, n - size) >= minBad);
}

/** The rate so far exceeds a number, from a minimum of outcomes on. */
function naiveRate(named: Named, minOutcomes: number, rate: number): Peer {
  return lookRule(named, minOutcomes, true, (n, badAmong) => at(badAmong, n) / n > rate);
}

/** A one-sided z-test of "the rate is at most 5 %" (score form), done after every outcome from the 30th on. */
function peekingZTest(named: Named, zScore: number): Peer {
  return lookRule(named, 30, true, (n, badAmong) => (at(badAmong, n) - n * P0) / Math.sqrt(n * P0 * (1 - P0)) > zScore);
}

/**
 * The one-sided asymptotic confidence sequence of Waudby-Smith and others (2103.06476, eq. 134 and 161) with GrowthBook's
 * tuning parameter of 5 000. It stops when its lower bound exceeds the limit. Without variance there is no bound. A good
 * outcome can be what gives it one, so it looks after every outcome.
 */
export function confidenceSequence(named: Named, alpha: number): Peer {
  const squaredRho = (-2 * Math.log(2 * alpha) + Math.log(-2 * Math.log(2 * alpha) + 1)) / 5_000;
  return lookRule(named, 2, false, (n, badAmong) => {
    const rate = at(badAmong, n) / n;
    if (rate <= P0) return false;
    const variance = (rate * (1 - rate) * n) / (n - 1);
    if (variance === 0) return false;
    const scale = n * squaredRho + 1;
    const halfWidth = Math.sqrt(
      ((2 * variance * scale) / (n * n * squaredRho)) * Math.log1p(Math.sqrt(scale) / (2 * alpha)),
    );
    return rate - halfWidth > P0;
  });
}

/** Stops at the `failures`th interval with at least `minBad` bad outcomes. */
function intervalRule(named: Named, interval: number, minBad: number, failures: number): Peer {
  return {
    ...named,
    stop: ({ badAmong, length }) => {
      let failed = 0;
      for (let end = interval; end <= length; end += interval) {
        if (at(badAmong, end) - at(badAmong, end - interval) >= minBad && ++failed >= failures) return end;
      }
      return Number.POSITIVE_INFINITY;
    },
    plainStop: ({ bits, length }) => {
      let failed = 0;
      let bad = 0;
      for (let n = 1; n <= length; n++) {
        bad += at(bits, n - 1);
        if (n % interval !== 0) continue;
        if (bad >= minBad) failed += 1;
        if (failed >= failures) return n;
        bad = 0;
      }
      return Number.POSITIVE_INFINITY;
    },
  };
}

/** Looks from `minOutcomes` on; `onlyAfterBad` where a good outcome can't make the rule stop. */
function lookRule(named: Named, minOutcomes: number, onlyAfterBad: boolean, isBroken: IsBroken): Peer {
  const plainStop = ({ badAmong, length }: Stream): number => {
    for (let n = minOutcomes; n <= length; n++) if (isBroken(n, badAmong)) return n;
    return Number.POSITIVE_INFINITY;
  };
  const stop = ({ badAmong, badAt, bad, length }: Stream): number => {
    if (length >= minOutcomes && isBroken(minOutcomes, badAmong)) return minOutcomes;
    for (let b = at(badAmong, Math.min(minOutcomes, length)); b < bad; b++) {
      if (isBroken(at(badAt, b), badAmong)) return at(badAt, b);
    }
    return Number.POSITIVE_INFINITY;
  };
  return { ...named, stop: onlyAfterBad ? stop : plainStop, plainStop };
}

/** An entry that is there by construction. */
function at(values: Int32Array | Uint8Array, index: number): number {
  return values[index] as number;
}

/** All peers, in the tables' order. */
export const PEERS: readonly Peer[] = [
  naiveRate(documented("naive rate > 5 %, min 20", "naive"), 20, P0),
  naiveRate(documented("naive rate > 5 %, min 50", "naive"), 50, P0),
  naiveRate(documented("naive rate > 5 %, min 100", "naive"), 100, P0),
  // 5 % of 60 is 3: a fourth failure fails the interval. 5 % of 600 is 30.
  argo(documented("Argo 60/interval, failureLimit 0 (default)", "argo"), 60, 4, 0),
  argo(documented("Argo 60/interval, failureLimit 3 (docs)", "argo"), 60, 4, 3),
  argo(documented("Argo 600/interval, failureLimit 3", "argo"), 600, 31, 3),
  flagger(documented("Flagger 60/interval, threshold 5 (docs)", "flagger"), 60, 4, 5),
  flagger(documented("Flagger 60/interval, threshold 10", "flagger"), 60, 4, 10),
  slidingWindow(documented("resilience4j window 100, >= 5 %", "window"), 100, 5),
  tombstone(documented("Tombstone > 5 % of 100 requests", "tombstone"), 6),
  peekingZTest(documented("peeking z-test p < .05, min 30", "ztest"), 1.645),
  confidenceSequence(documented("GrowthBook-style sequence, alpha .05", "sequence"), 0.05),
  confidenceSequence(documented("GrowthBook-style sequence, alpha .01", "sequence"), 0.01),
  naiveRate(retuned(`naive rate > ${percent(RETUNED.naiveRate)}, min 100`, "naive"), 100, RETUNED.naiveRate),
  argo(retuned(`Argo 60/interval, >= ${RETUNED.argoBad} bad, failureLimit 3`, "argo"), 60, RETUNED.argoBad, 3),
  flagger(
    retuned(`Flagger 60/interval, >= ${RETUNED.flaggerBad} bad, threshold 5`, "flagger"),
    60,
    RETUNED.flaggerBad,
    5,
  ),
  slidingWindow(retuned(`resilience4j window 100, >= ${RETUNED.windowBad} bad`, "window"), 100, RETUNED.windowBad),
  tombstone(retuned(`Tombstone >= ${RETUNED.tombstoneBad} of 100 requests`, "tombstone"), RETUNED.tombstoneBad),
  peekingZTest(retuned(`peeking z-test z > ${RETUNED.zScore}, min 30`, "ztest"), RETUNED.zScore),
  confidenceSequence(
    retuned(`GrowthBook-style sequence, alpha ${RETUNED.sequenceAlpha}`, "sequence"),
    RETUNED.sequenceAlpha,
  ),
  slidingWindow(hindsight(50, RETUNED.window50Bad), 50, RETUNED.window50Bad),
  slidingWindow(hindsight(150, RETUNED.window150Bad), 150, RETUNED.window150Bad),
  slidingWindow(hindsight(500, RETUNED.window500Bad), 500, RETUNED.window500Bad),
];

function documented(name: string, family: Family): Named {
  return { name, family, tuning: "documented" };
}

function retuned(name: string, family: Family): Named {
  return { name: `EQ ${name}`, family, tuning: "retuned" };
}

function hindsight(size: number, minBad: number): Named {
  return { name: `EQ window ${size}, >= ${minBad} bad (size by hindsight)`, family: "window", tuning: "hindsight" };
}

function percent(rate: number): string {
  return `${+(rate * 100).toFixed(1)} %`;
}
