/**
 * The ledgers of every rollout, by alias and number.
 */
import type { Ledger, World } from "@flagback/core";
import type { RolloutKey } from "../store/store.ts";
import { RolloutLedger } from "./rollout-ledger.ts";

export class Rollouts {
  readonly #world: () => World;
  readonly #byAlias = new Map<string, Map<number, RolloutLedger>>();

  constructor(world: () => World) {
    this.#world = world;
  }

  find({ alias, rolloutNumber }: RolloutKey): RolloutLedger | undefined {
    return this.#byAlias.get(alias)?.get(rolloutNumber);
  }

  /** `ledger` is what a store kept of it. */
  add({ alias, rolloutNumber }: RolloutKey, ledger?: Ledger): RolloutLedger {
    const rollout = new RolloutLedger(this.#world().aliases.get(alias), { alias, rolloutNumber }, ledger);
    const numbers = this.#byAlias.get(alias) ?? new Map<number, RolloutLedger>();
    this.#byAlias.set(alias, numbers.set(rolloutNumber, rollout));
    return rollout;
  }

  remove({ alias, rolloutNumber }: RolloutKey): void {
    this.#byAlias.get(alias)?.delete(rolloutNumber);
  }

  numbersOf(alias: string): number[] {
    return [...(this.#byAlias.get(alias)?.keys() ?? [])];
  }

  all(): RolloutLedger[] {
    return [...this.#byAlias.values()].flatMap((numbers) => [...numbers.values()]);
  }
}
