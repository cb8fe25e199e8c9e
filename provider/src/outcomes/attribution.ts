/**
 * Which version a tracked outcome belongs to, for applications that use OpenFeature alone: the last evaluation of an alias
 * for the same targeting key. Bounded: the keys that were evaluated least recently are forgotten in two generations.
 *
 * An evaluation is only noted, which costs it next to nothing. Notes are sorted by key when somebody asks; where nobody ever
 * asked, a new note takes the oldest one's place.
 */
import type { JsonValue } from "@openfeature/core";
import { MAX_ATTRIBUTION_NOTES } from "../limits.ts";

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
  /** A note is a key and, after it, what was served. */
  readonly #noted: (string | Served)[] = [];
  /** Notes that were taken and are not sorted yet; more than there is room for are the newest of them. */
  #notes = 0;
  #wasAsked = false;

  /** @param maxKeys targeting keys of one generation; at most twice as many are remembered */
  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  /** An alias was evaluated. No targeting key is a key of its own. */
  remember(targetingKey: string | undefined, served: Served): void {
    const note = this.#notes++ % MAX_ATTRIBUTION_NOTES;
    this.#noted[2 * note] = targetingKey ?? "";
    this.#noted[2 * note + 1] = served;
    if (this.#wasAsked && note === MAX_ATTRIBUTION_NOTES - 1) this.#sortNotes();
  }

  /** What the targeting key got last: of the alias, or of whichever alias was evaluated last. */
  lastServed(targetingKey: string | undefined, alias?: string): Served | undefined {
    this.#wasAsked = true;
    this.#sortNotes();
    const key = targetingKey ?? "";
    const served = this.#young.get(key) ?? this.#old.get(key);
    return alias === undefined ? served?.at(-1) : served?.find((each) => each.alias === alias);
  }

  #sortNotes(): void {
    for (let taken = Math.max(0, this.#notes - MAX_ATTRIBUTION_NOTES); taken < this.#notes; taken++) {
      const note = taken % MAX_ATTRIBUTION_NOTES;
      this.#sort(this.#noted[2 * note] as string, this.#noted[2 * note + 1] as Served);
    }
    this.#notes = 0;
  }

  #sort(key: string, served: Served): void {
    const known = this.#young.get(key);
    if (known !== undefined && known.at(-1) === served) return;
    const earlier = known ?? this.#old.get(key) ?? [];
    this.#young.set(key, [...earlier.filter((each) => each.alias !== served.alias), served]);
    if (this.#young.size < this.#maxKeys) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
