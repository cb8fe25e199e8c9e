/** What the provider promises about its speed. */
import { check, type Limit, type Scale } from "../limit.ts";
import type { Estimate } from "../statistics.ts";
import { VERSION, WRITES_ALLOWED } from "./flagback.ts";
import type { LoadCosts } from "./load.ts";
import type { Measurement } from "./measure.ts";
import { FRACTIONAL } from "./peers/flagd.ts";
import { GROWTHBOOK_SPLIT } from "./peers/growthbook.ts";

/** Of a constant provider through the same client. */
const MAX_OF_CONSTANT = 1.05;
/** Of a bare lookup, hash and pick. */
const MAX_OF_BARE = 2;
const MAX_OF_FRACTIONAL = 0.25;
const MAX_OF_GROWTHBOOK = 0.15;
const MAX_LOAD_MS = 50;
const MAX_DELTA_US = 100;

export interface Groups {
  readonly flags: readonly Measurement[];
  readonly splits: readonly Measurement[];
  readonly direct: readonly Measurement[];
}

export function allLimits(scale: Scale, { flags, splits, direct }: Groups, load: LoadCosts): Limit[] {
  const ours = [...flags, ...splits].filter(({ name, through }) => name.startsWith("flagback") && through === "client");
  const reads = direct.filter(({ name }) => name === WRITES_ALLOWED || name === VERSION);
  return [
    ...ours.map(({ name, ratio }) =>
      check(scale, {
        id: "S1",
        what: `${name} / constant provider`,
        estimate: ratio,
        limit: MAX_OF_CONSTANT,
        unit: "x",
      }),
    ),
    ...reads.map(({ name, ratio }) =>
      check(scale, { id: "S2", what: `${name} / bare split`, estimate: ratio, limit: MAX_OF_BARE, unit: "x" }),
    ),
    ...reads.map((read) => against(scale, "S3", read, direct, FRACTIONAL, MAX_OF_FRACTIONAL)),
    ...reads.map((read) => against(scale, "S4", read, direct, GROWTHBOOK_SPLIT, MAX_OF_GROWTHBOOK)),
    check(scale, {
      id: "S5",
      what: "10 000 documents taken over",
      estimate: load.swapMs,
      limit: MAX_LOAD_MS,
      unit: "ms",
    }),
    check(scale, {
      id: "S6",
      what: "a change of one of them",
      estimate: load.deltaUs,
      limit: MAX_DELTA_US,
      unit: "us",
    }),
  ];
}

/** Against a peer, by the ratios of both to the floor. One that did not run here leaves the limit open. */
function against(
  scale: Scale,
  id: string,
  ours: Measurement,
  measured: readonly Measurement[],
  peer: string,
  limit: number,
): Limit {
  const theirs = measured.find(({ name }) => name === peer);
  const what = `${ours.name} / ${peer}`;
  if (theirs === undefined) {
    return {
      id,
      what,
      value: null,
      relation: "at most",
      limit,
      unit: "x",
      slack: 0,
      holds: true,
      note: "it did not run",
    };
  }
  const estimate: Estimate = {
    value: ours.ratio.value / theirs.ratio.value,
    slack: ours.ratio.slack / theirs.ratio.value,
  };
  return check(scale, { id, what, estimate, limit, unit: "x" });
}
