/**
 * Anyone can replay a stored decision and gets the same verdict, whatever happened to the server since (BRAIN 2.6).
 */
import { cp } from "node:fs/promises";
import { expect, test } from "vitest";
import {
  type Batch,
  CANDIDATE,
  ERROR_RATE,
  eventually,
  exposing,
  failures,
  Reporter,
  RolloutView,
  STABLE,
  startRollout,
  successes,
} from "../../support/rollout.ts";
import { testFolder, testServer } from "../../support/server.ts";
import { serverProcess } from "../../support/server-process.ts";

const HALF_FAIL = [...failures(10), ...successes(10)];

test("a decision replays as identical right after the stop and after a restart", async () => {
  const rollout = await exposing();
  const [first, second] = await rollout.runtimes(2);
  await first?.report({ candidate: HALF_FAIL, stable: successes(20) });
  await second?.report({ candidate: HALF_FAIL, stable: successes(20) });
  const { decisionId = "", evidence } = await rollout.rolledBack();
  const same = { decisionId, identical: true, differences: [], evidence };
  expect((await rollout.replay(decisionId)).body).toMatchObject(same);
  const restarted = await rollout.restart();
  expect((await restarted.replay(decisionId)).body).toMatchObject(same);
});

test("a decision replays as identical with the ticks that froze before it, also after a restart and more outcomes", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: [...successes(19), ...failures(1)], stable: successes(20) });
  // A run that nobody reports: once it is missing, its tick and those before it are frozen.
  await runtime.report({ candidate: 1 });
  await eventually("its tick is frozen", async () => (await rollout.standing()).evidence[0]?.k === 2);
  const waiting = await runtime.report({ candidate: 30 });
  await runtime.settle(waiting, failures(30));
  const { decisionId = "", evidence } = await rollout.rolledBack();
  await runtime.report({ candidate: successes(50), stable: successes(50) });
  const same = { identical: true, differences: [], prefix: "identical", evidence };
  const replayed = await rollout.replay(decisionId);
  expect(replayed.body).toMatchObject(same);
  expect(replayed.body.prefixTicks).toBeGreaterThanOrEqual(1);
  const restarted = await rollout.restart();
  expect((await restarted.replay(decisionId)).body).toMatchObject(same);
});

test("a decision replays as identical from a restored copy of the data folder", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: HALF_FAIL, stable: successes(20) });
  const { decisionId = "", evidence } = await rollout.rolledBack();
  const { dataDir, adminToken } = rollout.server;
  await rollout.server.close();
  // docs/operations/README.md: stop the server and copy the whole folder.
  const copy = await testFolder();
  await cp(dataDir, copy, { recursive: true });
  const restored = await testServer({ dataDir: copy, adminToken });
  const replayed = await restored.call("GET", `/v1/decisions/${decisionId}/replay`);
  expect(replayed.body).toMatchObject({ identical: true, differences: [], evidence });
});

test("every way to a stop replays as identical", async () => {
  const shared = { weights: "hold", engage: true, for: "1s", then: "stop" } as const;
  const relative = { metric: "error_rate", relativeTo: "stable" } as const;
  const ways: { readonly policy: Parameters<typeof exposing>[0]; readonly batch: Batch }[] = [
    { policy: { onSharedCause: shared }, batch: { candidate: HALF_FAIL, stable: HALF_FAIL } },
    { policy: { guardrails: [ERROR_RATE, relative] }, batch: { candidate: failures(20), stable: HALF_FAIL } },
    {
      policy: { guardrails: [ERROR_RATE, { metric: "safety.pii_leak", max: 0 }] },
      batch: { candidate: successes(1, { safetyFlags: ["pii_leak"] }) },
    },
    {
      policy: { guardrails: [ERROR_RATE, { metric: "spend_usd_per_hour", max: 10 }] },
      batch: { candidate: successes(1, { costUsd: 11 }) },
    },
    {
      policy: { guardrails: [{ metric: "quality", min: 0.8 }] },
      batch: { candidate: successes(30, { quality: 0.37 }) },
    },
  ];
  const replays = await Promise.all(
    ways.map(async ({ policy, batch }) => {
      const rollout = await exposing(policy);
      await (await rollout.runtime()).report(batch);
      const { decisionId = "" } = await rollout.rolledBack();
      return (await rollout.replay(decisionId)).body;
    }),
  );
  expect(replays).toMatchObject(ways.map(() => ({ identical: true, differences: [] })));
});

test("a decision replays as identical after the server is killed right after the stop", async () => {
  const dataDir = await testFolder();
  const first = await serverProcess(dataDir);
  const before = callOf(first.url, first.adminToken ?? "");
  await startRollout(before);
  const { body } = await before<{ secret: string }>("POST", "/v1/tokens", { role: "runtime", name: "test" });
  const runtime = await Reporter.connect(first.url, body.secret);
  await runtime.report({ candidate: [...HALF_FAIL], stable: successes(20) });
  const view = new RolloutView(before);
  const { decisionId = "", evidence } = await view.rolledBack();
  await first.kill();

  const second = await serverProcess(dataDir);
  const after = new RolloutView(callOf(second.url, first.adminToken ?? ""));
  expect((await after.replay(decisionId)).body).toMatchObject({ identical: true, differences: [], evidence });
  expect(await after.audit("rollback")).toHaveLength(1);
  expect(await after.standing()).toMatchObject({ weight: 0 });
  expect(await after.engaged()).toHaveLength(1);
});

test("evidence that was durable when the server was killed still leads to the stop it is short of", async () => {
  const dataDir = await testFolder();
  const first = await serverProcess(dataDir);
  const before = callOf(first.url, first.adminToken ?? "");
  await startRollout(before);
  const { body } = await before<{ secret: string }>("POST", "/v1/tokens", { role: "runtime", name: "test" });
  const runtime = await Reporter.connect(first.url, body.secret);
  // Two failures of two do not stop, three of three do (BRAIN 2.2's table).
  await runtime.report({ candidate: failures(2) });
  await first.kill();

  const second = await serverProcess(dataDir);
  const again = await Reporter.connect(second.url, body.secret);
  await again.report({ stable: successes(1) });
  await again.report({ candidate: failures(2) });
  const view = new RolloutView(callOf(second.url, first.adminToken ?? ""));
  // The new instance is the second runtime of the alias: each confirms the other.
  const { decisionId = "", evidence } = await view.rolledBack();
  expect(evidence).toMatchObject([{ n: 4, k: 4 }]);
  expect((await view.replay(decisionId)).body).toMatchObject({ identical: true });
});

test("a rollback by a person has nothing to replay and says so", async () => {
  const rollout = await exposing();
  await rollout.act("rollback");
  const { decisionId = "" } = await rollout.rolledBack();
  const { status, body } = await rollout.replay(decisionId);
  expect(status).toBe(200);
  expect(body.differences).toEqual(["it was not judged from outcomes, so there is nothing to replay"]);
});

test("a promoted version that degrades is rolled back to the one before it", async () => {
  const rollout = await exposing({ stages: [{ name: "full", percent: 100 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(50) });
  expect((await rollout.act("promote")).status).toBe(200);
  expect(await rollout.standing()).toMatchObject({ state: "promoted" });
  // BRAIN 2.2's table knows no stop below 10 of 50; 20 of 20 after 50 good ones are far beyond it.
  await runtime.report({ candidate: failures(20) });
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ decision: "stop", reason: "sla_breach", fromVersion: CANDIDATE, toVersion: STABLE });
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  const { body } = await rollout.server.call("GET", "/v1/aliases/support-agent");
  expect(body).toMatchObject({ stable: STABLE, locks: [{ version: CANDIDATE }] });
  expect(await rollout.engaged()).toHaveLength(1);
  expect((await rollout.replay(stop.decisionId ?? "")).body).toMatchObject({ identical: true });
});

test("a promoted version whose server restarted is still watched", async () => {
  const rollout = await exposing({ stages: [{ name: "full", percent: 100 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(5) });
  await rollout.act("promote");
  const restarted = await rollout.restart();
  await (await restarted.runtime(runtime.instance)).resumeAfter(runtime).report({ candidate: failures(20) });
  expect(await restarted.rolledBack()).toMatchObject({ fromVersion: CANDIDATE, toVersion: STABLE });
});

/** Calls the API of a server in a process of its own. */
function callOf(url: string, token: string) {
  return async <Body>(method: string, path: string, body?: unknown) => {
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Body, headers: answer.headers };
  };
}
