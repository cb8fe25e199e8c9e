/**
 * Runs where FLAGBACK_OPENFEATURE_SPEC points to the specification's feature files, which are not ours to keep a copy of.
 * `npm run conformance` is the same with the progress printed.
 */
import { expect, test } from "vitest";
import { EXPECTED_CASES, hasSpecification, runConformance } from "./conformance.ts";

const folder = process.env.FLAGBACK_OPENFEATURE_SPEC;

test.skipIf(folder === undefined)(
  "every scenario of the OpenFeature specification that is not deprecated holds",
  {
    timeout: 300_000,
  },
  async () => {
    if (!hasSpecification(folder)) throw new Error(`FLAGBACK_OPENFEATURE_SPEC is ${folder}, where there is no folder`);
    const { results, problems, passed } = await runConformance(folder);
    expect([...problems, ...results.filter(({ failure }) => failure !== null)]).toEqual([]);
    expect(passed).toBe(EXPECTED_CASES);
  },
);
