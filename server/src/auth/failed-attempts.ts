/**
 * Failed authentications of each sender within a window, in bounded memory.
 */

interface Window {
  readonly startedMs: number;
  failures: number;
}

export class FailedAttempts {
  readonly #limits: { readonly perWindow: number; readonly windowMs: number; readonly maxSenders: number };
  /** In the order in which the windows began. */
  readonly #windows = new Map<string, Window>();

  constructor(limits: { readonly perWindow: number; readonly windowMs: number; readonly maxSenders: number }) {
    this.#limits = limits;
  }

  /** Counts a failure. Answers how long the sender should wait, 0 while it has not failed too often. */
  count(sender: string, nowMs: number): number {
    const window = this.#windowOf(sender, nowMs);
    window.failures += 1;
    return window.failures > this.#limits.perWindow ? window.startedMs + this.#limits.windowMs - nowMs : 0;
  }

  /** How many senders are remembered. */
  get size(): number {
    return this.#windows.size;
  }

  #windowOf(sender: string, nowMs: number): Window {
    const found = this.#windows.get(sender);
    if (found && nowMs < found.startedMs + this.#limits.windowMs) return found;
    // Deleted first, so that the map's order stays that of the windows' beginnings.
    this.#windows.delete(sender);
    const [oldest] = this.#windows.keys();
    if (oldest !== undefined && this.#windows.size >= this.#limits.maxSenders) this.#windows.delete(oldest);
    const begun = { startedMs: nowMs, failures: 0 };
    this.#windows.set(sender, begun);
    return begun;
  }
}
