/**
 * The OpenFeature specification's scenarios against the real server, a real socket and the real provider.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Case, casesOf } from "./features.ts";
import { Registry } from "./registry.ts";
import { type CaseResult, runCases } from "./run-cases.ts";
import { startSpecServer } from "./spec-server.ts";
import { contextSteps } from "./steps/context.ts";
import { evaluationSteps } from "./steps/evaluation.ts";
import { hookSteps } from "./steps/hooks.ts";
import { metadataSteps } from "./steps/metadata.ts";
import { statusSteps } from "./steps/status.ts";
import { SpecWorld } from "./world.ts";

/**
 * Cases of the specification's five feature files, counted by hand with each row of examples as one: 132, of which the
 * 13 of `evaluation.feature` are tagged `@deprecated`.
 */
export const EXPECTED_CASES = 119;

export interface ConformanceReport {
  readonly results: readonly CaseResult[];
  /** What is wrong with the folder itself, such as a case too few; each counts as one failure. */
  readonly problems: readonly string[];
  readonly passed: number;
  readonly failed: number;
}

/** Whether there is anything to run. A folder without a feature is there, and fails. */
export function hasSpecification(folder: string | undefined): folder is string {
  return folder !== undefined && folder !== "" && existsSync(folder);
}

export async function runConformance(
  folder: string,
  finished: (result: CaseResult) => void = () => undefined,
): Promise<ConformanceReport> {
  const cases = readCases(folder);
  const problems =
    cases.length === EXPECTED_CASES
      ? []
      : [`${folder} holds ${cases.length} cases that are not deprecated, the specification ${EXPECTED_CASES}`];
  const results = cases.length === 0 ? [] : await runAgainstServer(folder, cases, finished);
  const passed = results.filter(({ failure }) => failure === null).length;
  return { results, problems, passed, failed: results.length - passed + problems.length };
}

function readCases(folder: string): readonly Case[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(".feature"));
  const cases = files.sort().flatMap((file) => casesOf(file, readFileSync(join(folder, file), "utf8")));
  return cases.filter(({ tags }) => !tags.has("@deprecated"));
}

async function runAgainstServer(
  folder: string,
  cases: readonly Case[],
  finished: (result: CaseResult) => void,
): Promise<readonly CaseResult[]> {
  const server = await startSpecServer(JSON.parse(readFileSync(join(folder, "test-flags.json"), "utf8")));
  try {
    const openWorld = ({ tags }: Case) => SpecWorld.open(server, optionsFor(tags));
    return await runCases({ cases, steps: specSteps(), openWorld, finished });
  } finally {
    await server.close();
  }
}

/** Every step that the specification's scenarios have. */
function specSteps(): Registry<SpecWorld> {
  const steps = new Registry<SpecWorld>();
  for (const define of [statusSteps, evaluationSteps, metadataSteps, hookSteps, contextSteps]) define(steps);
  return steps;
}

/** What the provider is told for a scenario, by its tags. */
function optionsFor(tags: ReadonlySet<string>): Parameters<typeof SpecWorld.open>[1] {
  // The reason CACHED is the caller's choice with us; the default says STATIC, as the other scenarios expect.
  return { cachedReason: tags.has("@reason-codes-cached") };
}
