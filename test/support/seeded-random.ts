/**
 * Choices that a seed repeats.
 */
import { type Rng, xoshiro128 } from "../../bench/src/rng.ts";

export class SeededRandom {
  readonly #rng: Rng;

  constructor(seed: number) {
    this.#rng = xoshiro128(seed);
  }

  /** Uniform in [0, 1). */
  readonly fraction = (): number => this.#rng() / 2 ** 32;

  /** Uniform in [min, max). */
  between(min: number, max: number): number {
    return min + this.fraction() * (max - min);
  }

  /** A whole number, uniform from min to max, both included. */
  int(min: number, max: number): number {
    return Math.floor(this.between(min, max + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new Error("there is nothing to pick from");
    return items[this.int(0, items.length - 1)] as Item;
  }

  hex(length: number): string {
    return Array.from({ length }, () => this.int(0, 15).toString(16)).join("");
  }

  /** A seed for a generator of its own, whose use does not move this one. */
  seed(): number {
    return this.#rng() | 0;
  }
}

/** The seed that was asked for by `FLAGBACK_SEED`, or a new one. */
export function seedOf(env: Readonly<Record<string, string | undefined>>): number {
  const given = Number(env.FLAGBACK_SEED ?? Number.NaN);
  return Number.isInteger(given) ? given : Date.now() % 1_000_000;
}
