/**
 * Synthetic checks: what they say about a version, and when they are enough for a rollback. A rule of counting and no statistic:
 * who makes the checks chooses how many there are, so no probability of error can be declared for them.
 */
import { type Alias, MAX_BATCH_ITEMS, type Outcome, type Rollout } from "@flagback/schemas";
import { countsAgainstVersion } from "../brain/index.ts";

/** Checks of one version since the rollout began. */
export interface CheckedVersion {
  readonly version: string;
  readonly checks: number;
  readonly failures: number;
  readonly failuresInARow: number;
  readonly lastAt: string;
  /** The status and the kind of error of the last one that failed. */
  readonly lastFailure?: string;
}

/** Checks of one alias. */
export interface CheckedAlias {
  readonly alias: string;
  /** Of the rollout that they are counted in; another one begins with none. */
  readonly rolloutNumber: number;
  readonly versions: readonly CheckedVersion[];
  /**
   * Run ids of the last checks of any rollout, oldest first: stored with the counts, so that a check that is sent again after
   * a crash counts once.
   */
  readonly runIds?: readonly string[];
}

/** Versions of an alias whose checks are kept; the one that was checked longest ago goes first. */
const MAX_CHECKED_VERSIONS = 16;
/** Run ids of one alias that are remembered: as many as one request reports. */
const MAX_CHECKED_RUNS = MAX_BATCH_ITEMS;

/** Whether a check says something about its version: the same that a run would have to. */
export function saysSomething(outcome: Outcome): boolean {
  return countsAgainstVersion(outcome);
}

/** Counts one check that says something. */
export function withCheck(before: CheckedAlias | undefined, alias: Alias, outcome: Outcome, now: string): CheckedAlias {
  const { name, rolloutNumber } = alias;
  const versions = before?.rolloutNumber === rolloutNumber ? before.versions : [];
  const found = versions.find(({ version }) => version === outcome.version);
  const others = versions.filter((each) => each !== found);
  const { checks = 0, failures = 0, failuresInARow = 0, lastFailure } = found ?? {};
  const hasFailed = outcome.status === "failure" || outcome.status === "timeout";
  const failure = hasFailed ? [outcome.status, outcome.errorType].filter(Boolean).join(": ") : lastFailure;
  const counted: CheckedVersion = {
    version: outcome.version,
    checks: checks + 1,
    failures: failures + (hasFailed ? 1 : 0),
    failuresInARow: hasFailed ? failuresInARow + 1 : 0,
    lastAt: now,
    ...(failure === undefined ? {} : { lastFailure: failure }),
  };
  return {
    alias: name,
    rolloutNumber,
    versions: [...others, counted].slice(-MAX_CHECKED_VERSIONS),
    runIds: [...(before?.runIds ?? []), outcome.runId].slice(-MAX_CHECKED_RUNS),
  };
}

/**
 * Why the rollout is to be rolled back, in a sentence; undefined where it is not. Where the last check of the version that it
 * would return to failed as well, it is the check or something that both need, and a rollback helps nobody.
 */
export function syntheticStop(rollout: Rollout, { rolloutNumber, versions }: CheckedAlias): string | undefined {
  const limit = rollout.policy.onSyntheticFailure?.inARow;
  if (limit === undefined || rolloutNumber !== rollout.rolloutNumber) return undefined;
  const of = (version: string) => versions.find((each) => each.version === version);
  const candidate = of(rollout.candidate);
  if (!candidate || candidate.failuresInARow < limit || (of(rollout.target)?.failuresInARow ?? 0) > 0) return undefined;
  const n = candidate.failuresInARow;
  return `${n === 1 ? "a synthetic check" : `${n} synthetic checks in a row`} failed, the last with ${candidate.lastFailure}`;
}
