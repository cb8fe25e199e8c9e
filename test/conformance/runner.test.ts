/** The runner can fail: what is wrong, missing, hanging or not there never counts as passed. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { testFolder } from "../support/server.ts";
import { runConformance } from "./conformance.ts";
import { casesOf } from "./features.ts";
import { Registry } from "./registry.ts";
import { type CaseWorld, runCases } from "./run-cases.ts";

const TILL = `
Feature: A till
  Background:
    Given a till

  Scenario: Right
    When 2 and 3 are added
    Then it shows 5

  Scenario: Planted wrong expectation
    When 2 and 2 are added
    Then it shows 5

  Scenario: Planted undefined step
    When 2 and 2 are added
    Then it opens

  Scenario: Planted ambiguous step
    Then it is twofold

  Scenario: Planted step that never ends
    Then it hangs

  @tagged
  Scenario Outline: Rows
    When <a> and 1 are added
    Then it shows <sum>

    Examples:
      | a | sum |
      | 1 | 2   |
      | 7 | 9   |
`;

class Till implements CaseWorld {
  sum = Number.NaN;
  readonly #closed: Till[];

  constructor(closed: Till[]) {
    this.#closed = closed;
  }

  async close(): Promise<void> {
    this.#closed.push(this);
  }
}

const tillSteps = new Registry<Till>()
  .define(/a till/, (till) => {
    till.sum = 0;
  })
  .define(/(\d+) and (\d+) are added/, (till, [a, b]) => {
    till.sum += Number(a) + Number(b);
  })
  .define(/it shows (\d+)/, ({ sum }, [shown]) => {
    if (sum !== Number(shown)) throw new Error(`it shows ${sum}`);
  })
  .define(/it is (\w+)/, () => undefined)
  .define(/it is twofold/, () => undefined)
  .define(/it hangs/, () => new Promise(() => undefined));

describe("a case", () => {
  async function runTill() {
    const closed: Till[] = [];
    const cases = casesOf("till.feature", TILL);
    const openWorld = async () => new Till(closed);
    const results = await runCases({ cases, steps: tillSteps, openWorld, caseLimitMs: 50 });
    return {
      cases,
      closed,
      failures: Object.fromEntries(results.map(({ name, line, failure }) => [`${name}:${line}`, failure])),
    };
  }

  test("fails with the step and the reason where what it expects is not so, where a step is undefined or ambiguous, and where one hangs", async () => {
    const { failures } = await runTill();
    expect(failures).toEqual({
      "Right:6": null,
      "Planted wrong expectation:10": "it shows 5: it shows 4",
      "Planted undefined step:14": "undefined step: it opens",
      "Planted ambiguous step:18": expect.stringMatching(/^ambiguous step: it is twofold/),
      "Planted step that never ends:21": "it did not end within 50 ms",
      "Rows:31": null,
      "Rows:32": "it shows 9: it shows 8",
    });
  });

  test("frees its world also where it failed", async () => {
    const { closed } = await runTill();
    // Those that ran and ended: right, wrong, and two rows.
    expect(closed).toHaveLength(4);
  });

  test("is one for each row of examples, with the tags of all that it stands in", async () => {
    const { cases } = await runTill();
    expect(cases.filter(({ tags }) => tags.has("@tagged")).map(({ name }) => name)).toEqual(["Rows", "Rows"]);
  });

  test("without a step fails", async () => {
    const cases = casesOf("empty.feature", "Feature: Empty\n  Scenario: Nothing\n");
    const [result] = await runCases({ cases, steps: tillSteps, openWorld: async () => new Till([]) });
    expect(result?.failure).toContain("no steps");
  });
});

const PLANTED = `
Feature: Planted
  Background:
    Given a stable provider

  Scenario Outline: A lamp
    Given a <type>-flag with key "lamp" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<expected>"

    Examples:
      | type    | fallback | expected |
      | Boolean | false    | true     |
      | Boolean | false    | false    |

  Scenario: Undefined
    Then the lamp should be warm
`;

/** A folder like the specification's, with one right case of three. */
async function plantedFolder(): Promise<string> {
  const folder = await testFolder();
  await writeFile(join(folder, "planted.feature"), PLANTED);
  const lamp = { variants: { lit: true, dark: false }, defaultVariant: "lit" };
  await writeFile(join(folder, "test-flags.json"), JSON.stringify({ lamp }));
  return folder;
}

test("against the real server, a wrong expectation and an undefined step fail, and so does a folder of too few cases", async () => {
  const { results, problems, passed, failed } = await runConformance(await plantedFolder());
  expect(results.map(({ failure }) => failure)).toEqual([
    null,
    'the resolved details value should be "false": the value is true, not false',
    "undefined step: the lamp should be warm",
  ]);
  expect(problems).toEqual([expect.stringContaining("holds 3 cases")]);
  expect({ passed, failed }).toEqual({ passed: 1, failed: 3 });
});

describe("npm run conformance", () => {
  test("without the folder says SKIPPED, which is no failure", async () => {
    const { status, stdout } = await conformance("--spec", "/nonexistent/openfeature-spec");
    expect({ status, stdout }).toEqual({ status: 0, stdout: "conformance: SKIPPED (0 of 119)\n" });
  });

  test("without the folder fails under --require-spec, and counts nothing as passed", async () => {
    const { status, stdout } = await conformance("--require-spec", "--json");
    expect({ status, answer: JSON.parse(stdout) }).toEqual({
      status: 1,
      answer: { skipped: true, passed: 0, failed: 1 },
    });
  });

  test("ends with the counts, and with status 1 where anything failed", async () => {
    const { status, stdout } = await conformance("--spec", await plantedFolder());
    expect(status).toBe(1);
    expect(stdout.trimEnd().split("\n").at(-1)).toBe("1 passed, 3 failed");
    expect(stdout).toContain('FAILED planted.feature:14 A lamp\n       the resolved details value should be "false"');
  });
});

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

function conformance(...options: readonly string[]): Promise<{ status: number; stdout: string }> {
  const { FLAGBACK_OPENFEATURE_SPEC: _, ...env } = process.env;
  const command = ["--conditions=flagback:source", "--import", "tsx", MAIN, ...options];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, command, { env }, (_error, stdout) => {
      resolve({ status: child.exitCode ?? -1, stdout });
    });
  });
}
