/**
 * What happens after a rollback, with the real server and the real provider: verification, release, escalation (DESIGN 7).
 */
import { FlagbackProvider, guardTools, withRun } from "@flagback/provider";
import type { Outcome } from "@flagback/schemas";
import { OpenFeature } from "@openfeature/server-sdk";
import { expect, onTestFinished, test } from "vitest";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, eventually, exposing, type RolloutServer, STABLE } from "../support/rollout.ts";

/** 71 clean outcomes prove a 5 % guardrail kept (brain-golden.json). */
const ENOUGH_FOR_PROOF = 71;

test("an agent whose every run writes is let write again once stable is proven healthy, and every time is recorded", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const agents = [await agent(rollout, "one"), await agent(rollout, "two")];
  await failUntilRolledBack(rollout, agents);
  const [incident] = await rollout.incidents();
  for (const { provider } of agents) {
    await eventually("writes are blocked", () => !provider.writesAllowed({ agent: ALIAS }));
  }

  const written = await runsThatWrite(agents, ENOUGH_FOR_PROOF);
  expect(written).toBe(0);
  clock.passSeconds(5);
  const recovered = await inState(rollout, "recovered");

  for (const { provider } of agents) {
    await eventually("writes are allowed again", () => provider.writesAllowed({ agent: ALIAS }));
  }
  expect(await rollout.engaged()).toEqual([]);
  expect(await runsThatWrite(agents, 1)).toBe(2);
  expect(recovered).toMatchObject({ id: incident?.id, candidate: CANDIDATE, target: STABLE });
  const { detectMs, decideMs, commitMs, convergeMs, recoverMs } = recovered.timings;
  for (const ms of [detectMs, decideMs, commitMs, convergeMs]) expect(ms).toBeGreaterThanOrEqual(0);
  // The clock was moved by 5 s between the commit and the proof.
  expect(recoverMs).toBeGreaterThanOrEqual(5_000);
  expect(recovered.recovery.runs).toBeGreaterThanOrEqual(ENOUGH_FOR_PROOF);
  expect((await rollout.standing()).state).toBe("recovered");
});

interface IncidentAnswer {
  readonly id: string;
  readonly state: string;
  readonly timings: Record<"detectMs" | "decideMs" | "commitMs" | "convergeMs" | "recoverMs", number | null>;
  readonly recovery: { readonly runs: number };
  readonly timeline: readonly { readonly text: string }[];
}

type Agent = Awaited<ReturnType<typeof agent>>;

async function agent({ server }: RolloutServer, domain: string) {
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime") });
  await OpenFeature.setProviderAndWait(domain, provider);
  onTestFinished(() => OpenFeature.clearProviders());
  return { provider, client: OpenFeature.getClient(domain) };
}

let runs = 0;

/** One run of the agent, of a key of its own. */
function run({ client }: Agent, report: (version: string) => Partial<Outcome>, refund: () => void = () => undefined) {
  runs += 1;
  return withRun({ client, agent: ALIAS, runId: `run-${runs}` }, async (current) => {
    const version = await current.pin(ALIAS, "none");
    const tools = guardTools({ refund: { execute: async (): Promise<unknown> => refund() } }, { writes: ["refund"] });
    await tools.refund.execute();
    await current.report({ status: "success", ...report(version) });
  });
}

/** Runs on each agent, each of which tries to write. Answers how many did. */
async function runsThatWrite(agents: readonly Agent[], count: number): Promise<number> {
  let written = 0;
  for (let n = 0; n < count; n++) {
    for (const each of agents) {
      await run(
        each,
        () => ({ status: "success" }),
        () => {
          written += 1;
        },
      );
    }
  }
  return written;
}

async function failUntilRolledBack(rollout: RolloutServer, agents: readonly Agent[]): Promise<void> {
  for (let n = 0; n < 20; n++) {
    for (const each of agents)
      await run(each, (version) => ({ status: version === CANDIDATE ? "failure" : "success" }));
  }
  await rollout.rolledBack();
}

function inState({ server }: RolloutServer, state: string): Promise<IncidentAnswer> {
  return eventually(`an incident is ${state}`, async () => {
    const { body } = await server.call<{ incidents: IncidentAnswer[] }>("GET", "/v1/incidents");
    const found = body.incidents.find((each) => each.state === state);
    return found && (await server.call<IncidentAnswer>("GET", `/v1/incidents/${found.id}`)).body;
  });
}
