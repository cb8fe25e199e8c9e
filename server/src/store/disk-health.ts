/**
 * Whether the database can be written, as the last write found it. Asking is cheap: a probe is made only where nobody wrote
 * lately, and few of them while the disk refuses.
 */
import { FlagbackError } from "@flagback/schemas";
import type { Logger } from "pino";

/** A write that went well is believed for so long. */
const BELIEVED_MS = 5_000;
/** While the disk refuses, it is asked again so often. */
const RETRY_MS = 1_000;
/** A disk that was full is well again when so much fits: less would turn the next change away again. */
const HEADROOM_BYTES = 256 * 1024;

export class DiskHealth {
  readonly #probe: (bytes: number) => Promise<void>;
  readonly #monotonicMs: () => number;
  readonly #log: Pick<Logger, "error" | "info">;
  #problem: string | undefined;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #probing: Promise<void> | undefined;

  constructor(parts: {
    /** Writes so many bytes, or rejects. */
    readonly probe: (bytes: number) => Promise<void>;
    readonly monotonicMs: () => number;
    readonly log: Pick<Logger, "error" | "info">;
  }) {
    this.#probe = parts.probe;
    this.#monotonicMs = parts.monotonicMs;
    this.#log = parts.log;
  }

  /** What was wrong when it was last looked at; `undefined` where nothing was. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** A write went well. That alone does not cure a disk: a small one may fit where the next does not. */
  written(): void {
    if (this.#problem === undefined) this.#checkedMs = this.#monotonicMs();
  }

  failed(error: Error): void {
    // Once for each outage: whoever was turned away hears of it, and the log needs no line for each.
    if (this.#problem === undefined) {
      this.#log.error(
        { error: error.message },
        "the database can't be written: changes are refused and counts wait until it can",
      );
    }
    this.#problem = error.message;
    this.#checkedMs = this.#monotonicMs();
  }

  /** What is wrong now; `undefined` where nothing is. */
  async check(): Promise<string | undefined> {
    const ageMs = this.#monotonicMs() - this.#checkedMs;
    if (ageMs >= (this.#problem === undefined ? BELIEVED_MS : RETRY_MS)) {
      this.#probing ??= this.#look().finally(() => {
        this.#probing = undefined;
      });
      await this.#probing;
    }
    return this.#problem;
  }

  /** @throws FlagbackError `database_unavailable` while the disk refuses, for what could only wait in memory. */
  assertWritable(): void {
    if (this.#problem === undefined) return;
    throw new FlagbackError({
      code: "database_unavailable",
      message: `The database can't be written: ${this.#problem}.`,
      hint: "Check the disk's space and health, and send it again later; nothing of it was counted.",
    });
  }

  async #look(): Promise<void> {
    const wasBroken = this.#problem !== undefined;
    try {
      await this.#probe(wasBroken ? HEADROOM_BYTES : 0);
    } catch (error) {
      this.failed(causeOf(error));
      return;
    }
    this.#problem = undefined;
    this.#checkedMs = this.#monotonicMs();
    if (wasBroken) this.#log.info("the database can be written again");
  }
}

/** The disk's own words, without ours around them. */
function causeOf(error: unknown): Error {
  const { cause } = error as Error;
  return cause instanceof Error ? cause : (error as Error);
}
