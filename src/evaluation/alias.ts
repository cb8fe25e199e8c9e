/**
 * Which version of an alias a targeting key gets, as of one document (DESIGN 4). An alias is planned once, when its
 * document arrives, and then picked from without allocating: `planAlias` holds every rule, `pickVersion` only the hash.
 */
import { type RuntimeAlias, TOTAL_WEIGHT } from "@flagback/schemas";
import { bucketAfter, type HashPrefix, hashPrefix } from "../allocation/index.ts";

export type AliasRole = "stable" | "candidate" | "other";

/**
 * OpenFeature's reasons, as far as an alias has them. `STATIC`: one version for everybody. `SPLIT`: by the targeting key's
 * bucket. `DEFAULT`: stable, because there is no targeting key or the bucket's version may not be served. `STALE`: no live lease.
 * `TARGETING_MATCH`: kept, because the run brought the version along.
 */
export type AliasReason = "STATIC" | "SPLIT" | "DEFAULT" | "STALE" | "TARGETING_MATCH";

/** What an alias answers. `version` and `variant` are null where nothing may be served. */
export interface AliasDecision {
  readonly version: string | null;
  readonly variant: string | null;
  readonly role: AliasRole;
  readonly reason: AliasReason;
  /** Stage of the rollout under way, whichever role is served. */
  readonly stage?: string;
}

/** Every answer that an alias can give, rendered once. */
export interface AliasPlan<Answer> {
  readonly live: Choice<Answer>;
  /** Without a live lease. */
  readonly lapsed: Choice<Answer>;
  readonly salt: HashPrefix;
}

interface Choice<Answer> {
  readonly withoutKey: Answer;
  /** Ends of the slots' bucket ranges, ascending; empty where no hash is needed. */
  readonly ends: readonly number[];
  readonly answers: readonly Answer[];
  /** For every key where no hash is needed, and for buckets past the last slot. */
  readonly otherwise: Answer;
}

/**
 * Works out every answer of an alias. `render` is called once for each distinct answer; what it returns is what
 * `pickVersion` hands out.
 */
export function planAlias<Answer>(alias: RuntimeAlias, render: (decision: AliasDecision) => Answer): AliasPlan<Answer> {
  const rendered = new Map<string, Answer>();
  const answer = (version: string | null, reason: AliasReason): Answer => {
    const id = `${reason} ${version ?? ""}`;
    const known = rendered.get(id);
    if (known !== undefined) return known;
    const made = render(decide(alias, version, reason));
    rendered.set(id, made);
    return made;
  };
  const live = chooseLive(alias, answer);
  return { live, lapsed: chooseLapsed(alias, answer), salt: hashPrefix(alias.salt) };
}

/** The answer for a targeting key. No key, or an empty one, gets stable. */
export function pickVersion<Answer>(
  plan: AliasPlan<Answer>,
  targetingKey: string | undefined,
  leaseLive: boolean,
): Answer {
  const choice = leaseLive ? plan.live : plan.lapsed;
  if (!targetingKey) return choice.withoutKey;
  if (choice.ends.length === 0) return choice.otherwise;
  const bucket = bucketAfter(plan.salt, targetingKey);
  for (let i = 0; i < choice.ends.length; i++) {
    if (bucket < (choice.ends[i] as number)) return choice.answers[i] as Answer;
  }
  return choice.otherwise;
}

/** Plans and picks in one go: the readable form of the rule, for callers that ask once. */
export function resolveAlias(alias: RuntimeAlias, targetingKey: string | undefined, leaseLive: boolean): AliasDecision {
  return pickVersion(
    planAlias(alias, (decision) => decision),
    targetingKey,
    leaseLive,
  );
}

/**
 * The answer for a run that brings a version along: the version, where the alias could serve it to somebody now or lets
 * conversations finish on it; else null, and the run is answered as everybody is. So it can only choose among what is served
 * anyway: never a version that was rolled back, and under a lapsed lease nothing that `onLeaseLapse` would not serve.
 */
export function keepVersion(alias: RuntimeAlias, version: string, leaseLive: boolean): AliasDecision | null {
  if (!isServable(alias, version)) return null;
  const hasWeight = alias.allocation.some((slot) => slot.version === version && slot.weight > 0);
  const isServed = version === alias.stable || (hasWeight && (leaseLive || alias.onLeaseLapse === "last"));
  const isFinishing = leaseLive && (alias.finishing?.includes(version) ?? false);
  return isServed || isFinishing ? decide(alias, version, leaseLive ? "TARGETING_MATCH" : "STALE") : null;
}

/** Under a live lease: one slot of 100 % needs no hash, several split by bucket, and what may not be served gives way to stable. */
function chooseLive<Answer>(
  alias: RuntimeAlias,
  answer: (version: string | null, reason: AliasReason) => Answer,
): Choice<Answer> {
  const stable = servableStable(alias);
  const slots = alias.allocation.filter((slot) => slot.weight > 0);
  const only = slots.length === 1 && slots[0]?.weight === TOTAL_WEIGHT ? slots[0].version : null;
  if (only !== null && isServable(alias, only)) {
    return {
      withoutKey: only === stable ? answer(stable, "STATIC") : answer(stable, "DEFAULT"),
      ends: [],
      answers: [],
      otherwise: answer(only, "STATIC"),
    };
  }
  const fallback = answer(stable, "DEFAULT");
  const ends: number[] = [];
  const answers: Answer[] = [];
  let end = 0;
  for (const slot of slots) {
    end += slot.weight;
    ends.push(end);
    answers.push(isServable(alias, slot.version) ? answer(slot.version, "SPLIT") : fallback);
  }
  return { withoutKey: fallback, ends, answers, otherwise: fallback };
}

/** Without a live lease: stable for everybody, or the last known split where the policy says `onLeaseLapse: last`. */
function chooseLapsed<Answer>(
  alias: RuntimeAlias,
  answer: (version: string | null, reason: AliasReason) => Answer,
): Choice<Answer> {
  const stale = (version: string | null) => answer(version, "STALE");
  switch (alias.onLeaseLapse) {
    case "stable": {
      const fallback = stale(servableStable(alias));
      return { withoutKey: fallback, ends: [], answers: [], otherwise: fallback };
    }
    case "last":
      return chooseLive(alias, stale);
  }
}

function decide(alias: RuntimeAlias, version: string | null, reason: AliasReason): AliasDecision {
  const stage = alias.rollout?.stage;
  return Object.freeze({ version, variant: version, role: roleOf(alias, version), reason, ...(stage && { stage }) });
}

function roleOf(alias: RuntimeAlias, version: string | null): AliasRole {
  if (version === null || version === alias.stable) return "stable";
  return version === alias.rollout?.candidate ? "candidate" : "other";
}

function servableStable(alias: RuntimeAlias): string | null {
  return alias.stable !== null && isServable(alias, alias.stable) ? alias.stable : null;
}

/** A version that was rolled back is never served, and neither is one that the document does not carry. */
function isServable(alias: RuntimeAlias, version: string): boolean {
  return Object.hasOwn(alias.versions, version) && !Object.hasOwn(alias.revoked, version);
}
