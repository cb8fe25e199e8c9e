/**
 * Counts synthetic checks, keeps the counts, and carries out what the policy says about failing ones.
 */
import { type CheckedAlias, canRollBack, saysSomething, syntheticStop, withCheck } from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import { BRAIN } from "../actors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export class SyntheticChecks {
  readonly #engine: Pick<Engine, "world" | "execute">;
  readonly #store: Pick<Store, "putChecks">;
  readonly #metrics: Pick<Metrics, "syntheticChecks">;
  readonly #now: () => number;
  readonly #byAlias: Map<string, CheckedAlias>;
  /** Aliases whose counts are not durable yet, or whose stop was not carried out. */
  readonly #open = new Set<string>();

  constructor(parts: {
    readonly engine: Pick<Engine, "world" | "execute">;
    readonly store: Pick<Store, "putChecks">;
    readonly metrics: Pick<Metrics, "syntheticChecks">;
    readonly now: () => number;
    readonly loaded: readonly CheckedAlias[];
  }) {
    this.#engine = parts.engine;
    this.#store = parts.store;
    this.#metrics = parts.metrics;
    this.#now = parts.now;
    this.#byAlias = new Map(parts.loaded.map((each) => [each.alias, each]));
    for (const { alias } of parts.loaded) this.#open.add(alias);
  }

  /** Counts checks whose aliases exist, in memory. `settle` makes them durable. */
  note(checks: readonly Outcome[]): void {
    const now = new Date(this.#now()).toISOString();
    for (const outcome of checks) {
      const alias = this.#engine.world.aliases.get(outcome.alias);
      const isCounted = alias !== undefined && saysSomething(outcome);
      if (isCounted) {
        const before = this.#byAlias.get(alias.name);
        const after = withCheck(before, alias, outcome, now);
        this.#byAlias.set(alias.name, after);
        this.#open.add(alias.name);
      }
      const hasPassed = outcome.status === "success" || outcome.status === "escalated";
      this.#metrics.syntheticChecks.inc({ result: isCounted ? (hasPassed ? "passed" : "failed") : "ignored" });
    }
  }

  /** Makes durable what is not, and carries out what is due. A failure leaves it for the next call. */
  async settle(): Promise<void> {
    for (const name of [...this.#open]) {
      const checked = this.#byAlias.get(name);
      if (checked) {
        await this.#store.putChecks(checked);
        await this.#act(checked);
      }
      if (this.#byAlias.get(name) === checked) this.#open.delete(name);
    }
  }

  /** Checks of the alias's last rollout; none where there were none. */
  of(alias: string): CheckedAlias["versions"] {
    const checked = this.#byAlias.get(alias);
    return checked?.rolloutNumber === this.#engine.world.aliases.get(alias)?.rolloutNumber
      ? (checked?.versions ?? [])
      : [];
  }

  async #act(checked: CheckedAlias): Promise<void> {
    const alias = this.#engine.world.aliases.get(checked.alias);
    if (!alias?.rollout || !canRollBack(alias, new Date(this.#now()).toISOString())) return;
    const reason = syntheticStop(alias.rollout, checked);
    if (reason === undefined) return;
    const { rolloutNumber } = alias.rollout;
    await this.#engine.execute(
      { kind: "rollback", alias: alias.name, reason, signalled: "rollback_required", rolloutNumber },
      BRAIN,
    );
  }
}
