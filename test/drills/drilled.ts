/**
 * A real server with an alias to drill, and drills of it whose runtimes are real processes.
 */
import { fileURLToPath } from "node:url";
import type { Drill, DrillStep, PolicyInput, StartDrillBody } from "@flagback/schemas";
import { runDrill } from "../../server/src/rehearsal/run-drill.ts";
import { type TestServer, testServer } from "../support/server.ts";

export const ALIAS = "support-agent";
export const STABLE = "support-agent@2.3.3";
export const CANDIDATE = "support-agent@2.4.0";

/** A drill ends itself well before. */
export const DRILL_TIMEOUT_MS = 120_000;

const NODE = ["--conditions=flagback:source", "--import", "tsx"];
const MAIN = fileURLToPath(new URL("../../server/src/cli/main.ts", import.meta.url));
const SABOTAGED = fileURLToPath(new URL("./sabotaged-runtime.ts", import.meta.url));

/** How a runtime can be broken. */
type Sabotage = "ignores-the-switch" | "does-not-report" | "acknowledges-only";

export interface DrillSetup {
  readonly sabotage?: Sabotage;
  /** Where the runtimes and the drill find the server; another address than its own leads through a proxy. */
  readonly url?: string;
  readonly token?: string;
  readonly operatorToken?: string;
  readonly signal?: AbortSignal;
  readonly onStep?: (step: DrillStep) => void;
}

export async function drilledServer(
  policy: Partial<PolicyInput> = {},
  options: Parameters<typeof testServer>[0] = {},
): Promise<TestServer> {
  const server = await testServer(options);
  await applyAlias(server, policy);
  return server;
}

async function applyAlias({ call }: Pick<TestServer, "call">, policy: Partial<PolicyInput> = {}): Promise<void> {
  const applied = await call("POST", "/v1/apply", {
    versions: [
      { id: STABLE, kind: "prompt", payload: { prompt: "Be helpful." } },
      { id: CANDIDATE, kind: "prompt", payload: { prompt: "Be brief." } },
    ],
    aliases: {
      [ALIAS]: {
        stable: STABLE,
        candidates: [
          { id: STABLE, weight: 100 },
          { id: CANDIDATE, weight: 0 },
        ],
        policy: { guardrails: [{ metric: "error_rate", max: 0.05 }], ...policy },
      },
    },
  });
  if (applied.status !== 200) throw new Error(`apply answered ${JSON.stringify(applied.body)}`);
}

export function drill(server: TestServer, body: Partial<StartDrillBody> = {}, setup: DrillSetup = {}): Promise<Drill> {
  const { sabotage, url = server.url, token = server.adminToken, operatorToken } = setup;
  return runDrill(
    {
      url,
      token,
      ...(operatorToken === undefined ? {} : { operatorToken }),
      signal: setup.signal ?? new AbortController().signal,
      onStep: setup.onStep ?? (() => undefined),
      onLine: () => undefined,
      program: sabotage === undefined ? [...NODE, MAIN, "drill-runtime"] : [...NODE, SABOTAGED, sabotage],
    },
    { alias: ALIAS, faults: ["errors"], ...body },
  );
}

/** The failed steps, each with why. */
export function failures({ steps }: Drill): { readonly name: string; readonly why: string }[] {
  return steps.filter(({ result }) => result === "fail").map(({ name, why }) => ({ name, why }));
}
