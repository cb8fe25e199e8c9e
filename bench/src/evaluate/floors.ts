/** The least that an answer can cost: providers that know one answer, and a split with nothing around it. */
import { bucketAfter, type HashPrefix, hashPrefix, versionAt } from "@flagback/core";
import { type Slot, TOTAL_WEIGHT } from "@flagback/schemas";
import type { EvaluationContext, JsonValue, ResolutionDetails } from "@openfeature/core";
import type { Provider } from "@openfeature/server-sdk";
import type { Contestant } from "./contestant.ts";
import { ALIAS, CANDIDATE, CANDIDATE_SHARE, STABLE, targetingKeyOf } from "./traffic.ts";

const ALIASES = 10_000;

/** Answers the same promise at every call. */
export class ConstantProvider implements Provider {
  readonly metadata = { name: "constant" } as const;
  readonly runsOn = "server";
  readonly #on = settled(true, "on");
  readonly #candidate = settled(CANDIDATE, CANDIDATE);
  readonly #number = settled(1, "one");

  resolveBooleanEvaluation(_key: string, _otherwise: boolean, _context: EvaluationContext) {
    return this.#on;
  }

  resolveStringEvaluation(_key: string, _otherwise: string, _context: EvaluationContext) {
    return this.#candidate;
  }

  resolveNumberEvaluation(_key: string, _otherwise: number, _context: EvaluationContext) {
    return this.#number;
  }

  resolveObjectEvaluation<T extends JsonValue>(_key: string, otherwise: T): Promise<ResolutionDetails<T>> {
    return Promise.resolve({ value: otherwise });
  }
}

/** The constant provider without a client around it. */
export function constantAlone(): Contestant {
  const provider = new ConstantProvider();
  const context = {};
  const run = async (calls: number) => {
    let on = 0;
    for (let i = 0; i < calls; i++) {
      if ((await provider.resolveBooleanEvaluation("banner", false, context)).value) on += 1;
    }
    return on;
  };
  return { name: "constant provider, called without the SDK", through: "direct, a promise", expectedShare: 1, run };
}

/** A lookup among 10 000 aliases, murmur3 over salt and targeting key, and the slot that the bucket falls in. */
export function bareSplit(): Contestant {
  const allocation: readonly Slot[] = [
    { version: CANDIDATE, weight: CANDIDATE_SHARE * TOTAL_WEIGHT },
    { version: STABLE, weight: (1 - CANDIDATE_SHARE) * TOTAL_WEIGHT },
  ];
  const entry = (name: string) => [name, { salt: hashPrefix(name), allocation }] as const;
  const others = Array.from({ length: ALIASES - 1 }, (_, i) => entry(`alias-${i}`));
  const aliases: ReadonlyMap<string, { readonly salt: HashPrefix; readonly allocation: readonly Slot[] }> = new Map([
    ...others,
    entry(ALIAS),
  ]);
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) {
      const alias = aliases.get(ALIAS);
      if (alias && versionAt(alias.allocation, bucketAfter(alias.salt, targetingKeyOf(i))) === CANDIDATE)
        candidates += 1;
    }
    return candidates;
  };
  return { name: "bare Map lookup, murmur3 and pick", through: "direct", expectedShare: CANDIDATE_SHARE, run };
}

function settled<T>(value: T, variant: string): Promise<ResolutionDetails<T>> {
  return Promise.resolve(Object.freeze({ value, variant, reason: "STATIC" }));
}
