/** flagback as its users have it: a real server with a rollout at 25 %, a provider on its stream, a lease that is renewed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FlagbackProvider } from "@flagback/provider";
import { startServer } from "flagback";
import { clientOf, readsFlag, readsSplit, readsSwitch } from "./client.ts";
import type { Contestant, Product, Started } from "./contestant.ts";
import {
  ALIAS,
  CANDIDATE,
  CANDIDATE_PERCENT,
  CANDIDATE_SHARE,
  callerOf,
  FLAG,
  STABLE,
  targetingKeyOf,
  targetingKeys,
  WRITE_SWITCH,
} from "./traffic.ts";

const CONFIG = `
versions:
  - {id: ${STABLE}, kind: prompt, payload: {prompt: "Be helpful."}}
  - {id: ${CANDIDATE}, kind: prompt, payload: {prompt: "Be brief."}}
aliases:
  ${ALIAS}:
    stable: ${STABLE}
    candidates: [{id: ${STABLE}, weight: 100}, {id: ${CANDIDATE}, weight: 0}]
    policy:
      guardrails: [{metric: error_rate, max: 0.05}]
      stages: [{name: soak, percent: ${CANDIDATE_PERCENT}}, {name: full, percent: 100}]
flags:
  ${FLAG}: {state: ENABLED, variants: {on: true, off: false}, defaultVariant: on}
`;

export const FLAGBACK: Product = { name: "flagback", start };

async function start(): Promise<Started> {
  const dataDir = await mkdtemp(join(tmpdir(), "flagback-bench-"));
  const server = await startServer({ dataDir, port: 0, logLevel: "silent" });
  const call = async (path: string, body: string | object) => {
    const isText = typeof body === "string";
    const answer = await fetch(server.url + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${server.adminToken}`,
        "content-type": isText ? "text/yaml" : "application/json",
      },
      body: isText ? body : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    return answer.json() as Promise<{ readonly secret: string }>;
  };
  await call("/v1/apply", CONFIG);
  await call(`/v1/aliases/${ALIAS}/rollout`, { candidate: CANDIDATE });
  const { secret } = await call("/v1/tokens", { role: "runtime", name: "bench" });
  const provider = new FlagbackProvider({ url: server.url, token: secret });
  const client = await clientOf("flagback", provider);
  return {
    flags: [
      readsFlag("flagback, static flag", client, FLAG),
      readsSwitch("flagback, kill switch", client, WRITE_SWITCH),
    ],
    splits: [readsSplit("flagback, split alias", client, ALIAS)],
    direct: [writesAllowed(provider), writesAllowedFor(provider), version(provider), versionOfCandidates(provider)],
    stop: async () => {
      await provider.onClose();
      await server.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export const WRITES_ALLOWED = "flagback, provider.writesAllowed()";
export const VERSION = "flagback, provider.version(alias, targetingKey)";

function writesAllowed(provider: FlagbackProvider): Contestant {
  const run = (calls: number) => {
    let allowed = 0;
    for (let i = 0; i < calls; i++) if (provider.writesAllowed()) allowed += 1;
    return allowed;
  };
  return { name: WRITES_ALLOWED, through: "direct", expectedShare: 1, run };
}

function writesAllowedFor(provider: FlagbackProvider): Contestant {
  const run = (calls: number) => {
    let allowed = 0;
    for (let i = 0; i < calls; i++) if (provider.writesAllowed(callerOf(i))) allowed += 1;
    return allowed;
  };
  return { name: "flagback, provider.writesAllowed({agent, ...})", through: "direct", expectedShare: 1, run };
}

function version(provider: FlagbackProvider): Contestant {
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) if (provider.version(ALIAS, targetingKeyOf(i)) === CANDIDATE) candidates += 1;
    return candidates;
  };
  return { name: VERSION, through: "direct", expectedShare: CANDIDATE_SHARE, run };
}

/** The dearest case: whoever gets the candidate needs a live lease, and so both clocks. */
function versionOfCandidates(provider: FlagbackProvider): Contestant {
  const keys = targetingKeys.filter((key) => provider.version(ALIAS, key) === CANDIDATE);
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) if (provider.version(ALIAS, keys[i % keys.length]) === CANDIDATE) candidates += 1;
    return candidates;
  };
  return { name: "flagback, provider.version of the candidate's callers", through: "direct", expectedShare: 1, run };
}
