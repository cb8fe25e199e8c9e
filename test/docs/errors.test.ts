import { readFileSync } from "node:fs";
import { ERROR_STATUS } from "@flagback/schemas";
import { expect, test } from "vitest";

const sections = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8")
  .split(/^## /m)
  .slice(1)
  .map((section) => {
    const [code = "", ...text] = section.split("\n");
    return { code, text: text.join("\n").trim() };
  });

test("each error code has its heading, in order, and no heading lacks a code", () => {
  expect(sections.map((section) => section.code)).toEqual(Object.keys(ERROR_STATUS).sort());
});

test("each paragraph begins with the status that the API answers, and says more than that", () => {
  for (const { code, text } of sections) {
    expect(text.split(".")[0], code).toBe(String(ERROR_STATUS[code as keyof typeof ERROR_STATUS]));
    expect(text.length, code).toBeGreaterThan(50);
  }
});
