/**
 * Runtimes without a stream whose lease runs on: those that were cut off, and those that poll. Changes wait for the latter as
 * they do for those that stream.
 */
import type { Runtime } from "@flagback/schemas";
import { type DropReason, MAX_DETACHED_RUNTIMES } from "../limits.ts";
import { mayUseAlias } from "./frames.ts";

interface Detached {
  readonly leaseUntilMs: number;
  readonly timer: NodeJS.Timeout;
  /** Null where it does not poll. */
  readonly polling: Runtime | null;
  /** What its token is scoped to, where it polls. */
  readonly aliases: readonly string[];
}

export interface DetachedRuntimesOptions {
  readonly monotonicMs: () => number;
  /** The lease of an instance is over, and nothing was heard of it since. */
  readonly lapsed: (instance: string) => void;
  readonly dropped: (reason: DropReason) => void;
}

export class DetachedRuntimes {
  readonly #options: DetachedRuntimesOptions;
  readonly #byInstance = new Map<string, Detached>();

  constructor(options: DetachedRuntimesOptions) {
    this.#options = options;
  }

  /** Its stream ended. */
  cutOff(instance: string, leaseUntilMs: number): void {
    this.#hold(instance, leaseUntilMs, null, []);
  }

  /** It polled and was given a lease. Beyond the limit it has its lease, and changes don't wait for it. */
  polled(runtime: Runtime, leaseUntilMs: number, aliases: readonly string[]): void {
    const before = this.#byInstance.get(runtime.instance);
    if (!before && this.#byInstance.size >= MAX_DETACHED_RUNTIMES) {
      this.#options.dropped("polling_runtime");
      return;
    }
    const polling = {
      ...runtime,
      connectedAt: before?.polling?.connectedAt ?? runtime.connectedAt,
      lastAppliedMs: runtime.lastAppliedMs ?? before?.polling?.lastAppliedMs ?? null,
    };
    this.#hold(runtime.instance, Math.max(leaseUntilMs, before?.leaseUntilMs ?? 0), polling, aliases);
  }

  /** It streams again. Answers when the lease ends that it brings along. */
  attached(instance: string): number {
    const before = this.#byInstance.get(instance);
    clearTimeout(before?.timer);
    this.#byInstance.delete(instance);
    return before?.leaseUntilMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Those that poll and whose lease is live; only those that may see the alias, where one is named. */
  polling(alias?: string): Runtime[] {
    const all = [...this.#byInstance.values()];
    const seeing = alias === undefined ? all : all.filter(({ aliases }) => mayUseAlias(aliases, alias));
    return seeing.flatMap(({ polling }) => polling ?? []);
  }

  count(): { readonly polling: number; readonly cutOff: number } {
    const polling = this.polling().length;
    return { polling, cutOff: this.#byInstance.size - polling };
  }

  close(): void {
    for (const { timer } of this.#byInstance.values()) clearTimeout(timer);
    this.#byInstance.clear();
  }

  #hold(instance: string, leaseUntilMs: number, polling: Runtime | null, aliases: readonly string[]): void {
    clearTimeout(this.#byInstance.get(instance)?.timer);
    const timer = setTimeout(
      () => {
        this.#byInstance.delete(instance);
        this.#options.lapsed(instance);
      },
      Math.max(0, leaseUntilMs - this.#options.monotonicMs()),
    );
    timer.unref();
    this.#byInstance.set(instance, { leaseUntilMs, timer, polling, aliases });
  }
}
