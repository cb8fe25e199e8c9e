/**
 * Which version a tracked outcome belongs to, for applications that use OpenFeature alone: the last evaluation of an alias
 * for the same targeting key. Bounded: the keys that were evaluated least recently are forgotten in two generations, so
 * that remembering costs one map write at most.
 */
import type { JsonValue } from "@openfeature/core";

/** What an evaluation of an alias answered. */
export interface Served {
  readonly alias: string;
  readonly version: string;
  readonly revision: number;
  readonly payload: JsonValue;
}

export class Attribution {
  readonly #maxKeys: number;
  #young = new Map<string, readonly Served[]>();
  #old = new Map<string, readonly Served[]>();

  /** @param maxKeys targeting keys of one generation; at most twice as many are remembered */
  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  /** An alias was evaluated. No targeting key is a key of its own. */
  remember(targetingKey: string | undefined, served: Served): void {
    const key = targetingKey ?? "";
    const known = this.#young.get(key);
    if (known !== undefined && known.at(-1) === served) return;
    const earlier = known ?? this.#old.get(key) ?? [];
    this.#young.set(key, [...earlier.filter((each) => each.alias !== served.alias), served]);
    if (this.#young.size < this.#maxKeys) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** What the targeting key got last: of the alias, or of whichever alias was evaluated last. */
  lastServed(targetingKey: string | undefined, alias?: string): Served | undefined {
    const key = targetingKey ?? "";
    const served = this.#young.get(key) ?? this.#old.get(key);
    return alias === undefined ? served?.at(-1) : served?.find((each) => each.alias === alias);
  }
}
