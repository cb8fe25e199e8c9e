import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ROLLOUTS_PAGE, withMachine } from "../../docs/generate.ts";

test("docs/rollouts.md shows the machine as its table is (else: npm run generate)", () => {
  const page = readFileSync(ROLLOUTS_PAGE, "utf8");
  expect(page).toBe(withMachine(page));
  expect(page).toContain("**not_recovered** |");
});
