/**
 * Runs cases one after the other, each in a world of its own.
 */
import type { Case } from "./features.ts";
import type { Registry } from "./registry.ts";

/** How long a case may take. One that hangs is a failure and does not keep the others from running. */
const CASE_LIMIT_MS = 20_000;

export interface CaseWorld {
  /** Frees whatever the case opened, however it ended. */
  close(): Promise<void>;
}

export interface CaseResult {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  /** The step that failed and why; null where the case passed. */
  readonly failure: string | null;
}

export interface CaseRun<World extends CaseWorld> {
  readonly cases: readonly Case[];
  readonly steps: Registry<World>;
  readonly openWorld: (one: Case) => Promise<World>;
  /** Told of each case as it ends. */
  readonly finished?: (result: CaseResult) => void;
  /** Default 20 s. */
  readonly caseLimitMs?: number;
}

export async function runCases<World extends CaseWorld>(run: CaseRun<World>): Promise<readonly CaseResult[]> {
  const { cases, steps, openWorld, finished = () => undefined, caseLimitMs = CASE_LIMIT_MS } = run;
  const results: CaseResult[] = [];
  for (const one of cases) {
    const failure = await within(caseLimitMs, runCase(one, steps, openWorld)).catch(describe);
    const result = { file: one.file, line: one.line, name: one.name, failure };
    results.push(result);
    finished(result);
  }
  return results;
}

async function runCase<World extends CaseWorld>(
  one: Case,
  registry: Registry<World>,
  openWorld: (one: Case) => Promise<World>,
): Promise<null> {
  if (one.steps.length === 0) throw new Error("the case has no steps, so it proves nothing");
  // Bound before the first one runs, so that a step that nobody wrote is always told.
  const steps = one.steps.map((step) => registry.bind(step));
  const world = await openWorld(one);
  try {
    for (const step of steps) await failingAs(step.text, () => step.run(world));
  } finally {
    await world.close();
  }
  return null;
}

async function failingAs(text: string, run: () => void | Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    throw new Error(`${text}: ${describe(error)}`, { cause: error });
  }
}

function within<Value>(limitMs: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not end within ${limitMs} ms`)), limitMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
