import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../server/src/store/sqlite-open.ts";
import { SETTINGS } from "../../server/src/store/sqlite-settings.ts";
import { testFolder } from "../support/server.ts";

/** Settings and values of the page's first table. */
const documented = [
  ...readFileSync(new URL("../../docs/operations/database.md", import.meta.url), "utf8").matchAll(
    /^\| `(\w+)` \| `([^`]+)` \| \S.+\|$/gm,
  ),
].map(([, name, value]) => [name, value] as const);

test("the database runs with the settings that are documented, and after a restart too", async () => {
  const file = join(await testFolder(), "flagback.db");
  for (const _start of ["new", "again"]) {
    const database = openDatabase(file);
    onTestFinished(() => void database.close());
    const running = documented.map(([name]) => [name, String(database.pragma(`${name}`, { simple: true }))]);
    expect(running).toEqual(documented);
    database.close();
  }
});

test("each setting that is made is documented, in its order", () => {
  expect(documented).toEqual(SETTINGS.map(([name, value]) => [name, String(value)]));
});

test("pages are of 4 KiB, as the documented sizes suppose", async () => {
  const database = openDatabase(join(await testFolder(), "flagback.db"));
  onTestFinished(() => void database.close());
  expect(database.pragma("page_size", { simple: true })).toBe(4_096);
});
