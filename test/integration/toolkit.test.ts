/**
 * Runs on the real server through the real provider: what a rollback does to those under way, which version a conversation
 * keeps, and feedback that comes later.
 */
import { FlagbackProvider, guardTools, type Run, reportLater, WRITE_DENIED, withRun } from "@flagback/provider";
import type { FeedbackSummary, PolicyInput, Revoke } from "@flagback/schemas";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually, startRollout } from "../support/rollout.ts";
import { type TestServer, testServer } from "../support/server.ts";

const STABLE = "support-agent@2.3.3";
const CANDIDATE = "support-agent@2.4.0";
const AGENT = "support-agent";

describe("a rollback under a run on the candidate", () => {
  /** Begins a run on the candidate, rolls it back in mid-run, waits until the runtime knows, and goes on. */
  async function rolledBackUnder<Result>(revoke: Revoke, goOn: (run: Run) => Promise<Result>) {
    // The switch is left out, so that only the revocation speaks.
    const { server, provider } = await exposing({ onBreach: { revoke, engage: [] } });
    const ended = withRun({ provider, agent: AGENT, conversationId: candidateKey(provider) }, async (run) => {
      expect(await run.pin(AGENT, "none")).toBe(CANDIDATE);
      expect(run.writesAllowed()).toBe(true);
      await act(server, "rollback?wait=applied");
      expect(await run.pin(AGENT, "none")).toBe(CANDIDATE);
      return goOn(run);
    });
    return { server, provider, ended };
  }

  test("with finish lets it end as it began: it writes, and counts as it ends", async () => {
    const { server, ended } = await rolledBackUnder("finish", async (run) => [run.writesAllowed(), run.signal.aborted]);
    expect(await ended).toEqual([true, false]);
    expect(await settled(server, 1)).toMatchObject({ version: CANDIDATE, settled: 1, failures: 0, missing: 0 });
  });

  test("with block_writes lets it read on and answers its writes with why not", async () => {
    const written: string[] = [];
    const tools = guardTools(
      {
        find: { execute: async (id: string) => `found ${id}` },
        refund: { execute: async (id: string): Promise<unknown> => written.push(id) },
      },
      { writes: ["refund"] },
    );
    const { server, ended } = await rolledBackUnder("block_writes", async (run) => [
      await tools.find.execute("7"),
      await tools.refund.execute("7"),
      run.signal.aborted,
    ]);
    expect(await ended).toEqual(["found 7", WRITE_DENIED, false]);
    expect(written).toEqual([]);
    await settled(server, 1);
  });

  test("with abort aborts its signal, and the run is reported as cancelled, which is no failure of the version", async () => {
    const { server, ended } = await rolledBackUnder("abort", async (run) => {
      expect(run.writesAllowed()).toBe(false);
      run.signal.throwIfAborted();
    });
    await expect(ended).rejects.toMatchObject({ name: "AbortError" });
    expect(await settled(server, 1)).toMatchObject({ version: CANDIDATE, settled: 1, failures: 0, missing: 0 });
  });

  test.each(["finish", "block_writes", "abort"] as const)(
    "with %s leaves later runs of the conversation to stable, also by its token and by baggage",
    async (revoke) => {
      const { provider, ended } = await rolledBackUnder(revoke, async (run) => ({
        token: run.token(),
        baggage: run.baggage(),
      }));
      const brought = await ended;
      for (const carried of [brought, { token: brought.token }, { baggage: brought.baggage }]) {
        const version = await withRun({ provider, agent: AGENT, ...carried }, (run) => run.pin(AGENT, "none"));
        expect(version).toBe(STABLE);
      }
    },
  );
});

describe("a conversation where the policy says stickiness: conversation", () => {
  const STAGES = [
    { name: "most", percent: 99 },
    { name: "full", percent: 100 },
  ];

  test("keeps stable while the candidate takes everything, until the promotion evacuates it", async () => {
    const { server, provider } = await exposing({ stickiness: "conversation", stages: STAGES });
    const early = keyOf(provider, STABLE);
    const token = await tokenOf(provider, early);
    await act(server, "advance?wait=applied", { bypassGate: true });
    expect(provider.version(AGENT, early)).toBe(CANDIDATE);
    expect(await next(provider, token)).toBe(STABLE);
    await act(server, "promote?wait=applied");
    expect(await next(provider, token)).toBe(CANDIDATE);
  });

  test("with onWithdraw: finish ends on the version that a promotion replaced, alone, also after a restart", async () => {
    const { server, provider } = await exposing({ stickiness: "conversation", onWithdraw: "finish", stages: STAGES });
    const early = keyOf(provider, STABLE);
    const token = await tokenOf(provider, early);
    await act(server, "advance", { bypassGate: true });
    await act(server, "promote?wait=applied");
    expect(await next(provider, token)).toBe(STABLE);
    expect(provider.version(AGENT, early)).toBe(CANDIDATE);

    const again = await server.restart();
    const other = await providerOf(again);
    expect(await next(other, token)).toBe(STABLE);
    // Its runs are counted, and judge nobody: they are of no arm.
    const { body } = await again.call("GET", `/v1/aliases/${AGENT}`);
    expect(body).toMatchObject({ stable: CANDIDATE, finishing: [{ version: STABLE }] });
  });

  test("keeps the candidate in another process, which counts its run in the same rollout", async () => {
    const { server, provider } = await exposing({ stickiness: "conversation" });
    const token = await tokenOf(provider, candidateKey(provider));
    const other = await providerOf(server);
    await withRun({ provider: other, agent: AGENT, token }, async (run) => {
      expect(await run.pinned(AGENT, "none")).toMatchObject({ version: CANDIDATE, role: "candidate" });
    });
    expect(await settled(server, 2)).toMatchObject({ version: CANDIDATE, assigned: 2, settled: 2 });
  });
});

test("an agent that another process calls is part of the run that calls it", async () => {
  const { server, provider } = await exposing();
  const other = await providerOf(server);
  await withRun({ provider, agent: AGENT, conversationId: candidateKey(provider) }, async (run) => {
    await run.pin(AGENT, "none");
    await withRun({ provider: other, agent: "planner", baggage: run.baggage() }, async (called) => {
      expect(called.parentRunId).toBe(run.runId);
      expect(await called.pin(AGENT, "none")).toBe(CANDIDATE);
      await server.call("POST", "/v1/kill-switches/writes_disabled/engage?wait=applied", {
        scope: `agent=${AGENT}`,
        reason: "a test",
      });
      expect(called.writesAllowed()).toBe(false);
    });
  });
  // One run of the version, however many processes took part.
  expect(await settled(server, 1)).toMatchObject({ version: CANDIDATE, assigned: 1, settled: 1 });
});

test("feedback that comes later, from a process that holds no connection, is shown by version and judges nobody", async () => {
  const { server, provider } = await exposing();
  const token = await tokenOf(provider, candidateKey(provider));
  await provider.onClose();

  const later = new FlagbackProvider({ url: server.url, token: await server.token("runtime"), logger: QUIET });
  expect(await reportLater(later, token, { quality: 0.25, feedbackId: "ticket-1" })).toBe("accepted");
  expect(await reportLater(later, token, { quality: 0.25, feedbackId: "ticket-1" })).toBe("accepted");
  const { body } = await server.call<{ feedback: FeedbackSummary[] }>("GET", `/v1/aliases/${AGENT}`);
  expect(body.feedback).toEqual([{ version: CANDIDATE, count: 1, quality: 0.25 }]);
  expect(await settled(server, 1)).toMatchObject({ version: CANDIDATE, settled: 1, failures: 0 });

  const stranger = new FlagbackProvider({ url: server.url, token: await server.token("viewer"), logger: QUIET });
  expect(await reportLater(stranger, token, { quality: 1 })).toBe("refused");
});

const QUIET = { warn: () => undefined, error: () => undefined };

async function exposing(policy: Partial<PolicyInput> = {}) {
  const server = await testServer();
  await startRollout(server.call, policy);
  return { server, provider: await providerOf(server) };
}

async function providerOf(server: TestServer): Promise<FlagbackProvider> {
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime"), logger: QUIET });
  onTestFinished(() => provider.onClose());
  await provider.initialize();
  return provider;
}

async function act(server: TestServer, verb: string, body: object = {}): Promise<void> {
  const answer = await server.call("POST", `/v1/aliases/${AGENT}/${verb}`, { reason: "a test", ...body });
  expect(answer.status).toBe(200);
}

const candidateKey = (provider: FlagbackProvider) => keyOf(provider, CANDIDATE);

/** A conversation that is served the version now. */
function keyOf(provider: FlagbackProvider, version: string): string {
  const found = Array.from({ length: 1_000 }, (_, i) => `c-${i}`).find(
    (key) => provider.version(AGENT, key) === version,
  );
  if (found === undefined) throw new Error(`nobody of a thousand is served ${version}`);
  return found;
}

function tokenOf(provider: FlagbackProvider, conversationId: string): Promise<string> {
  return withRun({ provider, agent: AGENT, conversationId }, async (run) => {
    await run.pin(AGENT, "none");
    return run.token();
  });
}

/** The version that the conversation's next run gets. */
function next(provider: FlagbackProvider, token: string): Promise<string> {
  return withRun({ provider, agent: AGENT, token }, (run) => run.pin(AGENT, "none"));
}

/** The candidate's counts, once so many runs of the rollout are settled. */
function settled(server: TestServer, runs: number) {
  return eventually(`${runs} runs are settled`, async () => {
    interface Traffic {
      readonly version: string;
      readonly settled: number;
    }
    const { body } = await server.call<{ traffic: Traffic[] }>("GET", `/v1/aliases/${AGENT}/rollout`);
    const sum = body.traffic.reduce((total, each) => total + each.settled, 0);
    return sum >= runs && body.traffic.find((each) => each.version === CANDIDATE);
  });
}
