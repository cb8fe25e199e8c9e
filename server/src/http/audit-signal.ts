/**
 * Tells those who wait for the next audit row that there may be one. They are told in portions and after the hub's doorbell, so
 * that nobody who only looks delays a change on its way to the runtimes.
 */
import { TOLD_PER_TURN } from "../limits.ts";

export class AuditSignal {
  readonly #listeners = new Set<() => void>();
  /** Those who have not been told of the last ring yet, first come first. */
  readonly #due = new Set<() => void>();
  #rings = 0;
  #turn: NodeJS.Immediate | undefined;

  /** How often it has rung. */
  get rings(): number {
    return this.#rings;
  }

  ring(): void {
    this.#rings += 1;
    for (const listener of this.#listeners) this.#due.add(listener);
    this.#tellLater();
  }

  /** Answers how to stop. Who has heard of fewer rings than there were is told as if it rang now. */
  listen(listener: () => void, heard = this.#rings): () => void {
    this.#listeners.add(listener);
    if (heard < this.#rings) {
      this.#due.add(listener);
      this.#tellLater();
    }
    return () => {
      this.#listeners.delete(listener);
      this.#due.delete(listener);
    };
  }

  /** Goes behind whatever this turn of the event loop has to do already, such as to ring the doorbell. */
  #tellLater(): void {
    clearImmediate(this.#turn);
    this.#turn = setImmediate(() => this.#tell());
  }

  #tell(): void {
    let told = 0;
    for (const listener of this.#due) {
      if (told++ === TOLD_PER_TURN) return this.#tellLater();
      this.#due.delete(listener);
      listener();
    }
  }
}
