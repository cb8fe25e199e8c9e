/**
 * What the provider holds, kept in a file for the process after this one. Nothing here throws, and nothing waits for the
 * disk: a cache that can't be written or read is a line in the log.
 */
import { createHash } from "node:crypto";
import type { Documents } from "@flagback/core/evaluation";
import type { Cursor, RuntimeDocument } from "@flagback/schemas";
import type { Clock } from "../clock.ts";
import type { Restored } from "../connection/state.ts";
import { CACHE_RETRY_MS, CACHE_WAIT_TURNS, CACHE_WRITE_INTERVAL_MS, MAX_CACHE_BYTES } from "../limits.ts";
import type { ProblemLog } from "../logger.ts";
import { describeThrown } from "../thrown.ts";
import { decodeCache, encodeCache } from "./codec.ts";
import { readBounded, removeLeftovers, removeNow, replaceFile, setAside } from "./file.ts";

export interface SnapshotCacheOptions {
  readonly path: string;
  /** Address of the server. A cache of another one is not used. */
  readonly server: string;
  readonly token: string;
  readonly sdk: string;
  readonly clock: Clock;
  readonly log: ProblemLog;
}

/** Documents as of a cursor. */
interface Held {
  readonly cursor: Cursor;
  readonly documents: Documents;
}

export interface RestoredDocuments extends Restored {
  readonly documents: readonly RuntimeDocument[];
  /** By the clock of whoever wrote it. */
  readonly writtenAt: string;
}

export class SnapshotCache {
  readonly #options: SnapshotCacheOptions;
  readonly #token: string;
  #pending: Held | null = null;
  #writing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #nextWriteMs = Number.NEGATIVE_INFINITY;
  #hasTidied = false;
  /** Grows when what was kept until then may not be kept any more. */
  #generation = 0;

  constructor(options: SnapshotCacheOptions) {
    this.#options = options;
    this.#token = createHash("sha256").update(options.token).digest("hex");
  }

  /**
   * What a process before us held, where the disk tells within `timeoutMs`. A file that is damaged is set aside; one of another
   * server stays until we write ours.
   */
  async read(timeoutMs: number): Promise<RestoredDocuments | null> {
    const restored = await within(timeoutMs, this.#read());
    if (restored !== undefined) return restored;
    const { path, log } = this.#options;
    log.warn("cache.slow", `the cache file ${path} was not read within ${timeoutMs} ms; going on without it`);
    return null;
  }

  /** Writes it soon, once for all that comes until then, and at most once in `CACHE_WRITE_INTERVAL_MS`. */
  keep(held: Held): void {
    this.#pending = held;
    this.#schedule();
  }

  /**
   * What was kept until now must not start another process: the file is gone when this returns, and nothing brings it back.
   * What is kept from here on is written as ever.
   */
  discard(): void {
    const { path, log } = this.#options;
    this.#generation += 1;
    this.#pending = null;
    try {
      removeNow(path);
    } catch (error) {
      log.warn(
        "cache.discard",
        `the cache file ${path} holds what was withdrawn and can't be removed (${describeThrown(error)})`,
      );
    }
  }

  /** Writes what waits, now. No timer is left. A disk that takes longer than `timeoutMs` is not waited for. */
  async flush(timeoutMs: number): Promise<void> {
    await within(timeoutMs, this.#finish());
  }

  async #read(): Promise<RestoredDocuments | null> {
    const { path, server, sdk, log } = this.#options;
    try {
      const file = await readBounded(path, MAX_CACHE_BYTES);
      if (file.kind === "missing") return null;
      if (file.kind === "tooLarge") return await this.#giveUp(`it is larger than ${MAX_CACHE_BYTES} bytes`);
      const decoded = decodeCache(file.bytes);
      if (decoded.kind === "damaged") return await this.#giveUp(decoded.problem);
      const { header, documents } = decoded;
      if (header.server !== server) {
        log.warn("cache.foreign", `the cache file ${path} is of another server, ${header.server}; it is not used`);
        return null;
      }
      const canResume = header.token === this.#token && header.sdk === sdk;
      return { cursor: header.cursor, canResume, documents, writtenAt: header.writtenAt };
    } catch (error) {
      log.warn("cache.read", `the cache file ${path} can't be read (${describeThrown(error)}); going on without it`);
      return null;
    }
  }

  async #finish(): Promise<void> {
    await this.#writing;
    this.#begin();
    await this.#writing;
    this.#cancelTimer();
  }

  #schedule(): void {
    if (this.#pending === null || this.#writing !== null || this.#timer !== null) return;
    const delayMs = Math.min(CACHE_RETRY_MS, Math.max(0, this.#nextWriteMs - this.#options.clock.monotonicMs()));
    this.#timer = setTimeout(() => this.#begin(), delayMs);
    this.#timer.unref();
  }

  #begin(): void {
    this.#cancelTimer();
    const held = this.#pending;
    if (held === null) return;
    this.#pending = null;
    const { clock } = this.#options;
    this.#nextWriteMs = clock.monotonicMs() + CACHE_WRITE_INTERVAL_MS;
    const generation = this.#generation;
    const isWanted = () => generation === this.#generation;
    this.#writing = this.#write(held, isWanted).then((result) => {
      this.#writing = null;
      if (result === "failed" || result === "tooLarge") this.#nextWriteMs = clock.monotonicMs() + CACHE_RETRY_MS;
      if (result === "failed" && isWanted()) this.#pending ??= held;
      this.#schedule();
    });
  }

  async #write(
    { cursor, documents }: Held,
    isWanted: () => boolean,
  ): Promise<"written" | "tooLarge" | "unwanted" | "failed"> {
    const { path, server, sdk, clock, log } = this.#options;
    // Taken in the turn in which they are the newest: an older generation would have to be rebuilt.
    const held = documents.values();
    try {
      if (!this.#hasTidied) await removeLeftovers(path, clock.wallMs());
      this.#hasTidied = true;
      const writtenAt = new Date(clock.wallMs()).toISOString();
      const header = { server, token: this.#token, sdk, writtenAt, cursor };
      const result = await replaceFile(path, encodeCache(header, held), MAX_CACHE_BYTES, isWanted);
      if (result === "written") log.resolved("cache");
      if (result === "tooLarge")
        log.warn("cache.size", `more than ${MAX_CACHE_BYTES} bytes are held; the cache file ${path} stays as it was`);
      return result;
    } catch (error) {
      log.warn("cache.write", `the cache file ${path} can't be written (${describeThrown(error)}); trying on`);
      return "failed";
    }
  }

  async #giveUp(problem: string): Promise<null> {
    const { path, log } = this.#options;
    const aside = await setAside(path);
    log.warn("cache.damaged", `the cache file can't be used: ${problem}; it is set aside as ${aside}`);
    return null;
  }

  #cancelTimer(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/**
 * What the promise gives, or undefined where that takes longer. The time is waited for in turns, so that a process that stood
 * still, as one does that loads its modules, loses one turn at most: it could not hear a disk that was quick.
 */
async function within<Value>(timeoutMs: number, promise: Promise<Value>): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    const wait = (turns: number) => {
      timer = setTimeout(() => (turns > 1 ? wait(turns - 1) : resolve(undefined)), timeoutMs / CACHE_WAIT_TURNS);
    };
    wait(CACHE_WAIT_TURNS);
  });
  const first = await Promise.race([promise, timeout]);
  clearTimeout(timer);
  return first;
}
