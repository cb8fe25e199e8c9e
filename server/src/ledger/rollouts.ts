/**
 * The ledgers of every rollout, by alias and number.
 */
import type { Ledger, World } from "@flagback/core";
import type { RolloutKey } from "../store/ledger-writes.ts";
import { RolloutLedger, type Totals } from "./rollout-ledger.ts";

export class Rollouts {
  readonly #world: () => World;
  readonly #byAlias = new Map<string, Map<number, RolloutLedger>>();
  /** What was counted in rollouts whose ledgers are gone: a runtime that was cut off may report to them still. */
  readonly #removed = new Map<string, ReadonlyMap<string, Totals>>();

  constructor(world: () => World) {
    this.#world = world;
  }

  find({ alias, rolloutNumber }: RolloutKey): RolloutLedger | undefined {
    return this.#byAlias.get(alias)?.get(rolloutNumber);
  }

  /** `ledger` is what a store kept of it. */
  add({ alias, rolloutNumber }: RolloutKey, ledger?: Ledger): RolloutLedger {
    const rollout = new RolloutLedger(this.#world().aliases.get(alias), { alias, rolloutNumber }, ledger);
    const name = nameOf({ alias, rolloutNumber });
    for (const [version, totals] of this.#removed.get(name) ?? []) {
      Object.assign(rollout.tallyOf(version).totals, totals);
    }
    this.#removed.delete(name);
    const numbers = this.#byAlias.get(alias) ?? new Map<number, RolloutLedger>();
    this.#byAlias.set(alias, numbers.set(rolloutNumber, rollout));
    return rollout;
  }

  /** Forgets the ledger, and keeps the totals: a few numbers for each version. */
  remove(key: RolloutKey): void {
    const numbers = this.#byAlias.get(key.alias);
    const totals = numbers?.get(key.rolloutNumber)?.totals();
    if (totals) this.#removed.set(nameOf(key), totals);
    numbers?.delete(key.rolloutNumber);
  }

  numbersOf(alias: string): number[] {
    return [...(this.#byAlias.get(alias)?.keys() ?? [])];
  }

  all(): RolloutLedger[] {
    return [...this.#byAlias.values()].flatMap((numbers) => [...numbers.values()]);
  }
}

function nameOf({ alias, rolloutNumber }: RolloutKey): string {
  return `${alias}/${rolloutNumber}`;
}
