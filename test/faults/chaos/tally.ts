/**
 * How much was done and seen in a chaos run, for its report.
 */
import { FAILPOINTS, type Failpoint } from "../../../server/src/store/failpoints.ts";
import type { ChaosEvent } from "./history.ts";

export interface TallySums {
  /** Faults that were injected, by kind; servers that were killed at a failpoint among them. */
  readonly faults: Readonly<Record<string, number>>;
  /** Servers that died at each failpoint. */
  readonly deaths: Readonly<Record<string, number>>;
  /** Failpoints at which none died. */
  readonly spared: readonly Failpoint[];
  readonly starts: number;
  readonly changes: Readonly<Record<"done" | "refused" | "unanswered", number>>;
  readonly batches: number;
  readonly outcomes: number;
  readonly acknowledgements: number;
  readonly applied: number;
  /** Reads with equal answers count once. */
  readonly reads: number;
  readonly rollbacks: number;
  readonly rollbacksByTheBrain: number;
  readonly alerts: number;
  readonly slowReadersClosed: number;
}

export class Tally {
  readonly #kinds = new Map<ChaosEvent["kind"], number>();
  readonly #faults = new Map<string, number>();
  readonly #deaths = new Map<Failpoint, number>();
  #outcomes = 0;
  #rollbacks = 0;
  #rollbacksByTheBrain = 0;

  note(event: ChaosEvent): void {
    add(this.#kinds, event.kind);
    if (event.kind === "fault") add(this.#faults, event.fault);
    else if (event.kind === "reported") this.#outcomes += event.runs.length;
    else if (event.kind === "database") {
      const rollbacks = event.facts.audit.filter(({ action }) => action === "rollback");
      this.#rollbacks += rollbacks.length;
      this.#rollbacksByTheBrain += rollbacks.filter(({ actor }) => actor === "brain").length;
    }
  }

  diedAt(point: Failpoint): void {
    add(this.#deaths, point);
    add(this.#faults, "killAtFailpoint");
  }

  sums(parts: Pick<TallySums, "changes" | "slowReadersClosed">): TallySums {
    const seen = (kind: ChaosEvent["kind"]) => this.#kinds.get(kind) ?? 0;
    return {
      faults: Object.fromEntries([...this.#faults].toSorted()),
      deaths: Object.fromEntries(this.#deaths),
      spared: FAILPOINTS.filter((point) => !this.#deaths.has(point)),
      starts: seen("serverStarted"),
      batches: seen("reported"),
      outcomes: this.#outcomes,
      acknowledgements: seen("acknowledged"),
      applied: seen("applied"),
      reads: seen("read"),
      rollbacks: this.#rollbacks,
      rollbacksByTheBrain: this.#rollbacksByTheBrain,
      alerts: seen("alerted"),
      ...parts,
    };
  }
}

function add<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
