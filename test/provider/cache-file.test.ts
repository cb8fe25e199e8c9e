import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { readBounded, removeLeftovers, replaceFile, setAside } from "../../provider/src/cache/file.ts";
import { LEFTOVER_AFTER_MS, MAX_LEFTOVERS_REMOVED } from "../../provider/src/limits.ts";
import { testFolder } from "../support/server.ts";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await testFolder();
  path = join(folder, "cache");
});

const text = async () => (await readFile(path)).toString();

describe("replacing a file", () => {
  test("leaves the new text, readable by its owner alone, and nothing else", async () => {
    await writeFile(path, "old", { mode: 0o644 });
    expect(await replaceFile(path, ["ne", "w"], 3)).toBe("written");
    expect(await text()).toBe("new");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["cache"]);
  });

  test("with more than its bound in bytes changes nothing", async () => {
    await writeFile(path, "old");
    expect(await replaceFile(path, ["n", "ü", "."], 3)).toBe("tooLarge");
    expect(await text()).toBe("old");
    expect(await readdir(folder)).toEqual(["cache"]);
  });

  test("that fails half-way changes nothing", async () => {
    await writeFile(path, "old");
    function* failing() {
      yield "new";
      throw new Error("no more");
    }
    await expect(replaceFile(path, failing(), 100)).rejects.toThrow("no more");
    expect(await text()).toBe("old");
    expect(await readdir(folder)).toEqual(["cache"]);
  });

  test("that can't take its place leaves no temporary file behind", async () => {
    await mkdir(join(path, "full"), { recursive: true });
    await expect(replaceFile(path, ["new"], 100)).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST|EPERM/);
    expect(await readdir(folder)).toEqual(["cache"]);
  });

  test("through somebody's link replaces the link and not what it leads to", async () => {
    const target = join(folder, "target");
    await writeFile(target, "theirs");
    await symlink(target, path);
    await replaceFile(path, ["ours"], 100);
    expect([await text(), (await readFile(target)).toString()]).toEqual(["ours", "theirs"]);
  });
});

describe("reading a file", () => {
  test("tells a missing one from one that is too large", async () => {
    expect(await readBounded(path, 3)).toEqual({ kind: "missing" });
    await writeFile(path, "four");
    expect(await readBounded(path, 3)).toEqual({ kind: "tooLarge" });
    expect(await readBounded(path, 4)).toEqual({ kind: "bytes", bytes: Buffer.from("four") });
  });
});

test("a damaged file is set aside, and only the last one is kept", async () => {
  await writeFile(path, "first");
  await setAside(path);
  await writeFile(path, "second");
  const aside = await setAside(path);
  expect(await readdir(folder)).toEqual(["cache.damaged"]);
  expect((await readFile(aside)).toString()).toBe("second");
});

describe("leftovers of processes that died", () => {
  const NOW_MS = Date.parse("2026-01-02T03:04:05Z");
  const left = async (name: string, ageMs: number) => {
    await writeFile(join(folder, name), "");
    const at = new Date(NOW_MS - ageMs);
    await utimes(join(folder, name), at, at);
  };

  test("are removed once nobody can be writing to them, and nobody else's file is", async () => {
    await left("cache.0123456789abcdef.tmp", LEFTOVER_AFTER_MS);
    const kept = ["cache", "cache.0123456789abcdef", "cache.damaged", "cache.notes.tmp", "other.0123456789abcdef.tmp"];
    for (const name of kept) await left(name, 10 * LEFTOVER_AFTER_MS);
    await left("cache.fedcba9876543210.tmp", LEFTOVER_AFTER_MS - 1_000);
    await removeLeftovers(path, NOW_MS);
    expect((await readdir(folder)).sort()).toEqual([...kept, "cache.fedcba9876543210.tmp"].sort());
  });

  test("are removed within bounds", async () => {
    for (let i = 0; i < MAX_LEFTOVERS_REMOVED + 3; i++) {
      await left(`cache.${String(i).padStart(16, "0")}.tmp`, LEFTOVER_AFTER_MS);
    }
    await removeLeftovers(path, NOW_MS);
    expect(await readdir(folder)).toHaveLength(3);
  });

  test("in a folder that is not there are no problem", async () => {
    await expect(removeLeftovers(join(folder, "none", "cache"), NOW_MS)).resolves.toBeUndefined();
  });
});
