import { readFileSync } from "node:fs";
import { VERSION_KINDS } from "@flagback/core";
import { DoctorCheck, VersionKind } from "@flagback/schemas";
import { expect, test } from "vitest";

const page = readFileSync(new URL("../../docs/versions.md", import.meta.url), "utf8");

test.each(VersionKind.options)("the page says how a version of kind %s is rolled back, and how soon", (kind) => {
  const { mechanism, target, beyondTheFlip } = VERSION_KINDS[kind];
  const [row = ""] = page.split("\n").filter((line) => line.startsWith(`| \`${kind}\` | ${mechanism} | ${target} |`));
  expect(row.split("|")[4]?.trim() !== "").toBe(beyondTheFlip !== undefined);
});

test("the page has a row for each check of the doctor, and no other", () => {
  const [, table = ""] = page.split("| check | fails when |");
  const named = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  expect(named.sort()).toEqual([...DoctorCheck.shape.check.options].sort());
});
