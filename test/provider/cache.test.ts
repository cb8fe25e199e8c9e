/**
 * The cache by itself, with a clock and timers that only we move, on a real disk.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { documentsOf } from "@flagback/core/evaluation";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { decodeCache } from "../../provider/src/cache/codec.ts";
import { SnapshotCache, type SnapshotCacheOptions } from "../../provider/src/cache/snapshot-cache.ts";
import { CACHE_RETRY_MS, CACHE_WRITE_INTERVAL_MS, MAX_CACHE_BYTES } from "../../provider/src/limits.ts";
import { problemLog } from "../../provider/src/logger.ts";
import { testFolder } from "../support/server.ts";
import { alias, flag, killSwitch } from "./documents.ts";

const WALL_MS = Date.parse("2026-01-02T03:04:05.678Z");
const DOCUMENTS = [alias(), killSwitch()];

let folder: string;
let path: string;
let logged: string[];
let passedMs: number;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  folder = await testFolder();
  path = join(folder, "cache");
  logged = [];
  passedMs = 0;
});

afterEach(() => {
  vi.useRealTimers();
});

function cacheOf(over: Partial<SnapshotCacheOptions> = {}): SnapshotCache {
  const say = (message: string) => void logged.push(message);
  const log = problemLog({ warn: say, error: say });
  const clock = { monotonicMs: () => passedMs, wallMs: () => WALL_MS + passedMs };
  return new SnapshotCache({ path, server: "http://here", token: "fb_runtime_x", sdk: "test 1", clock, log, ...over });
}

const held = (revision: number, documents = documentsOf(DOCUMENTS)) => ({ cursor: cursorOf(revision), documents });
const cursorOf = (revision: number) => ({ epoch: "e".repeat(32), revision, mark: `${revision}`.padStart(16, "0") });

function pass(ms: number): void {
  passedMs += ms;
  vi.advanceTimersByTime(ms);
}

/** What the file holds; null while there is none. */
function writtenRevision(): number | null {
  if (!existsSync(path)) return null;
  const decoded = decodeCache(readFileSync(path));
  return decoded.kind === "whole" ? decoded.header.cursor.revision : null;
}

/** Waits for the disk; no timer moves meanwhile. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function written(cache: SnapshotCache, revision: number): Promise<void> {
  cache.keep(held(revision));
  await cache.flush(1_000);
}

describe("what is kept", () => {
  test("is there for the next process, with the place to resume from", async () => {
    await written(cacheOf(), 7);
    expect(await cacheOf().read(1_000)).toEqual({
      cursor: cursorOf(7),
      canResume: true,
      documents: DOCUMENTS,
      writtenAt: "2026-01-02T03:04:05.678Z",
    });
    expect(logged).toEqual([]);
  });

  test.each([
    ["token, which may be scoped to other documents", { token: "fb_runtime_other" }],
    ["release, which may know other fields", { sdk: "test 2" }],
  ])("by another %s, can be answered from and not resumed from", async (_what, over) => {
    await written(cacheOf(over), 7);
    expect(await cacheOf().read(1_000)).toMatchObject({ cursor: cursorOf(7), canResume: false, documents: DOCUMENTS });
  });

  test("does not hold the token", async () => {
    await written(cacheOf(), 7);
    expect((await readFile(path)).toString()).not.toContain("fb_runtime_x");
  });
});

describe("a burst of changes", () => {
  test("is written at once and then at most once in the interval, the latest of it", async () => {
    const cache = cacheOf();
    cache.keep(held(1));
    cache.keep(held(2));
    expect(writtenRevision()).toBeNull();
    pass(0);
    await until(() => writtenRevision() === 2);
    cache.keep(held(3));
    // The timer is set as soon as the write before it is through.
    await until(() => vi.getTimerCount() === 1);
    cache.keep(held(4));
    pass(CACHE_WRITE_INTERVAL_MS - 1);
    expect(vi.getTimerCount()).toBe(1);
    pass(1);
    await until(() => writtenRevision() === 4);
    await cache.flush(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("that waits is written when the provider closes, and no timer is left", async () => {
    const cache = cacheOf();
    await written(cache, 1);
    cache.keep(held(2));
    cache.keep(held(3));
    expect(vi.getTimerCount()).toBe(1);
    await cache.flush(1_000);
    expect([writtenRevision(), vi.getTimerCount()]).toEqual([3, 0]);
  });

  test("that goes on while a write is under way is written after it", async () => {
    const cache = cacheOf();
    cache.keep(held(1));
    pass(0);
    cache.keep(held(2));
    await cache.flush(1_000);
    expect([writtenRevision(), vi.getTimerCount()]).toEqual([2, 0]);
  });
});

describe("what is discarded", () => {
  test("is gone at once, and what is kept after it is written as ever", async () => {
    const cache = cacheOf();
    await written(cache, 1);
    cache.discard();
    expect(existsSync(path)).toBe(false);
    await written(cache, 2);
    expect(writtenRevision()).toBe(2);
  });

  test("is not brought back by what waited, or by a write under way", async () => {
    const cache = cacheOf();
    cache.keep(held(1));
    pass(0);
    cache.keep(held(2));
    cache.discard();
    await cache.flush(1_000);
    expect(await readdir(folder)).toEqual([]);
  });

  test("is not tried again where its write had failed", async () => {
    path = join(folder, "later", "cache");
    const cache = cacheOf();
    cache.keep(held(1));
    pass(0);
    cache.discard();
    await cache.flush(1_000);
    await mkdir(join(folder, "later"));
    pass(CACHE_RETRY_MS);
    await cache.flush(1_000);
    expect(writtenRevision()).toBeNull();
  });

  test("that can't be removed is a line in the log", async () => {
    await mkdir(path);
    cacheOf().discard();
    expect(logged).toEqual([expect.stringContaining("holds what was withdrawn and can't be removed")]);
  });
});

test("a file that the disk does not give in time is not waited for", async () => {
  await written(cacheOf(), 1);
  const read = cacheOf().read(1_000);
  vi.advanceTimersByTime(1_000);
  expect(await read).toBeNull();
  expect(logged).toEqual([expect.stringContaining("was not read within 1000 ms")]);
});

test("a file that the disk gave at once is read although the process stood still for longer than it would have waited", async () => {
  await written(cacheOf(), 7);
  const read = cacheOf().read(1_000);
  // After the pause the one timer that is due comes before whatever the disk has answered.
  vi.advanceTimersToNextTimer();
  expect(await read).toMatchObject({ cursor: cursorOf(7) });
  expect(logged).toEqual([]);
});

describe("a file that can't be written", () => {
  test("is one line in the log, and is tried again without a change", async () => {
    path = join(folder, "later", "cache");
    const cache = cacheOf();
    await written(cache, 1);
    await written(cache, 2);
    expect(logged).toEqual([expect.stringMatching(/the cache file .*later\/cache can't be written \(.*ENOENT/)]);
    await mkdir(join(folder, "later"));
    cache.keep(held(3));
    pass(CACHE_RETRY_MS - 1);
    expect(vi.getTimerCount()).toBe(1);
    pass(1);
    await until(() => writtenRevision() === 3);
    await cache.flush(1_000);
  });

  test("is news again once it could be written", async () => {
    const cache = cacheOf();
    for (const round of [1, 2]) {
      await rm(path, { recursive: true, force: true });
      await mkdir(join(path, "full"), { recursive: true });
      await written(cache, round);
      await rm(path, { recursive: true });
      await written(cache, round);
    }
    expect(logged).toHaveLength(2);
  });

  test("because it would be too large stays as it was, with one line in the log", async () => {
    const cache = cacheOf();
    await written(cache, 1);
    const large = flag("large", { variants: { on: "x".repeat(1024 * 1024) }, defaultVariant: "on" });
    const many = documentsOf(Array.from({ length: 65 }, (_, i) => ({ ...large, key: `large-${i}` })));
    cache.keep(held(2, many));
    await cache.flush(10_000);
    expect(writtenRevision()).toBe(1);
    expect(logged).toEqual([expect.stringContaining(`more than ${MAX_CACHE_BYTES} bytes are held`)]);
    expect(await readdir(folder)).toEqual(["cache"]);
  });
});

describe("a file that can't be read", () => {
  test("is no problem where it is missing", async () => {
    expect(await cacheOf().read(1_000)).toBeNull();
    expect(logged).toEqual([]);
  });

  test.each([
    ["cut", async () => truncate(path, 100)],
    ["empty", async () => truncate(path, 0)],
    ["larger than any that is written", async () => truncate(path, MAX_CACHE_BYTES + 1)],
    ["something else", async () => writeFile(path, "not ours")],
  ])("because it is %s is set aside and reported, once, and written anew", async (_what, damage) => {
    await written(cacheOf(), 1);
    await damage();
    const damaged = await readFile(path);
    const cache = cacheOf();
    expect(await cache.read(1_000)).toBeNull();
    expect(await cache.read(1_000)).toBeNull();
    expect(logged).toEqual([expect.stringContaining(`${path}.damaged`)]);
    expect(damaged.equals(await readFile(`${path}.damaged`))).toBe(true);
    await written(cache, 2);
    expect(await cache.read(1_000)).toMatchObject({ cursor: cursorOf(2) });
  });

  test("because it is another server's is not used, and stays", async () => {
    await written(cacheOf({ server: "http://there" }), 1);
    expect(await cacheOf().read(1_000)).toBeNull();
    expect(logged).toEqual([expect.stringContaining("is of another server, http://there")]);
    expect(writtenRevision()).toBe(1);
  });

  test("because it is a folder or a pipe holds nobody up", async () => {
    await mkdir(path);
    expect(await cacheOf().read(1_000)).toBeNull();
    expect(logged).toEqual([expect.stringMatching(/can't be read \(.*EISDIR/)]);
    path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    expect(await cacheOf().read(1_000)).toBeNull();
    expect(logged[1]).toContain("can't be");
  });
});
