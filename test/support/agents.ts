/**
 * Agents with the real provider: each run asks which version to be, tries to write, and reports how it went.
 */
import { FlagbackProvider, guardTools, withRun } from "@flagback/provider";
import type { IncidentSnapshot, Outcome } from "@flagback/schemas";
import { type Client, OpenFeature } from "@openfeature/server-sdk";
import { onTestFinished } from "vitest";
import { alertReceiver } from "./alert-receiver.ts";
import { ALIAS, CANDIDATE, eventually, type RolloutServer, STABLE } from "./rollout.ts";

/** Clean outcomes that prove a 5 % guardrail kept (data/brain-golden.json). */
export const ENOUGH_FOR_PROOF = 71;

export interface Agent {
  readonly provider: FlagbackProvider;
  readonly client: Client;
}

/** An agent in an OpenFeature domain of its own. */
export async function agent({ server }: Pick<RolloutServer, "server">, domain: string): Promise<Agent> {
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime") });
  await OpenFeature.setProviderAndWait(domain, provider);
  onTestFinished(() => OpenFeature.clearProviders());
  return { provider, client: OpenFeature.getClient(domain) };
}

let runs = 0;

/** One run of the agent, of a key of its own, which does what its only tool does. Answers the version that it was. */
export async function run(
  { client }: Agent,
  report: (version: string) => Partial<Outcome>,
  { alias = ALIAS, refund = () => {} }: { readonly alias?: string; readonly refund?: () => void } = {},
): Promise<string> {
  runs += 1;
  return withRun({ client, agent: alias, runId: `run-${runs}` }, async (current) => {
    const version = await current.pin(alias, "none");
    const tools = guardTools({ refund: { execute: async (): Promise<unknown> => refund() } }, { writes: ["refund"] });
    await tools.refund.execute();
    await current.report({ status: "success", ...report(version) });
    return version;
  });
}

/** Runs on each agent, each of which tries to write. Answers how many did. */
export async function runsThatWrite(agents: readonly Agent[], count: number): Promise<number> {
  let written = 0;
  const refund = () => {
    written += 1;
  };
  for (let n = 0; n < count; n++) {
    for (const each of agents) await run(each, () => ({ status: "success" }), { refund });
  }
  return written;
}

/** Runs of which those on the candidate fail. */
export async function failingRuns(agents: readonly Agent[], count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    for (const each of agents)
      await run(each, (version) => ({ status: version === CANDIDATE ? "failure" : "success" }));
  }
}

export async function failUntilRolledBack(rollout: RolloutServer, agents: readonly Agent[]): Promise<void> {
  await failingRuns(agents, 20);
  await rollbackReached(rollout, agents);
}

/** Waits for the rollback, and until each of the agents holds it. */
export async function rollbackReached(rollout: RolloutServer, agents: readonly Agent[]): Promise<void> {
  const { revision = Number.POSITIVE_INFINITY } = await rollout.rolledBack();
  for (const { provider } of agents) {
    await eventually("the agent holds the rollback", () => (provider.revision ?? 0) >= revision);
  }
}

/** Waits until no run can get the candidate or write any more, as the agent itself sees it. */
export async function stopped({ provider, client }: Agent): Promise<void> {
  await eventually("the agent is back on stable and may not write", async () => {
    const version = await client.getStringValue(ALIAS, "none", { targetingKey: "anybody" });
    return version === STABLE && !provider.writesAllowed({ agent: ALIAS });
  });
}

/** The answer of `GET /v1/incidents/{id}`, as far as tests read it. */
export interface IncidentAnswer {
  readonly id: string;
  readonly state: string;
  readonly timings: Record<"detectMs" | "decideMs" | "commitMs" | "convergeMs" | "recoverMs", number | null>;
  readonly recovery: { readonly runs: number };
  readonly snapshot: IncidentSnapshot;
  readonly timeline: readonly { readonly text: string }[];
}

/** Waits for an incident in the state. */
export function inState({ server }: RolloutServer, state: string): Promise<IncidentAnswer> {
  return eventually(`an incident is ${state}`, async () => {
    const { body } = await server.call<{ incidents: IncidentAnswer[] }>("GET", "/v1/incidents");
    const found = body.incidents.find((each) => each.state === state);
    return found && (await server.call<IncidentAnswer>("GET", `/v1/incidents/${found.id}`)).body;
  });
}

/** Waits until the incident counts so many runs of stable, durably. */
export async function counted({ server }: RolloutServer, runsOfStable: number): Promise<void> {
  const id = await eventually(`${runsOfStable} runs count for the recovery`, async () => {
    const { body } = await server.call<{ incidents: IncidentAnswer[] }>("GET", "/v1/incidents");
    const { body: first } = await server.call<IncidentAnswer>("GET", `/v1/incidents/${body.incidents[0]?.id}`);
    return first.recovery.runs >= runsOfStable && first.id;
  });
  // A change writes the counts first. Else a clock that jumps before they are durable looks like a slow disk to the server.
  await server.call("POST", `/v1/incidents/${id}/notes`, { text: `${runsOfStable} runs` });
}

interface Alert {
  readonly kind: string;
  readonly text: string;
}

export interface Alerts {
  /** All that came. */
  alerts(): readonly Alert[];
  /** The first alert of one of the kinds, received already or yet to come. */
  next(...kinds: readonly string[]): Promise<Alert>;
}

/** Takes the server's alerts. */
export async function alertsOf({ server }: RolloutServer): Promise<Alerts> {
  const { url, received } = await alertReceiver();
  await server.call("POST", "/v1/webhooks", { url });
  const alerts = () => received.map(({ body }) => JSON.parse(body) as Alert);
  return {
    alerts,
    next: (...kinds) =>
      eventually(`an alert ${kinds.join(" or ")}`, () => alerts().find(({ kind }) => kinds.includes(kind))),
  };
}
