import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { generateJsonSchemas, JSON_FOLDER } from "../../schemas/generate.ts";

const generated = generateJsonSchemas();

test("the committed JSON Schemas are what the zod schemas give (else: npm run generate)", () => {
  const committed = new Map(
    readdirSync(JSON_FOLDER).map((name) => [name, readFileSync(`${JSON_FOLDER}${name}`, "utf8")]),
  );
  expect([...committed.keys()].sort()).toEqual([...generated.keys()].sort());
  for (const [name, text] of generated) expect(committed.get(name), name).toBe(text);
});

test("generating twice gives the same text", () => {
  expect([...generateJsonSchemas()]).toEqual([...generated]);
});

test("every reference leads to a schema of the folder", () => {
  for (const [name, text] of generated) {
    for (const [, target] of text.matchAll(/"\$ref": "([^"#]+)/g)) {
      expect(generated.has(target ?? ""), `${name} refers to ${target}`).toBe(true);
    }
  }
});

test("wire messages and answers stay open, so that a newer peer may add fields", () => {
  for (const name of ["server-message", "runtime-message", "problem", "change-answer"]) {
    expect(generated.get(`${name}.schema.json`), name).not.toContain('"additionalProperties": false');
  }
});
