/**
 * Verdicts that the server once got wrong, each kept so that it stays right.
 */
import { expect, test } from "vitest";
import { MovedClock } from "../../support/moved-clock.ts";
import { ALIAS, ERROR_RATE, eventually, exposing, failures, successes } from "../../support/rollout.ts";

const BOTH_BREAK = { candidate: failures(20), stable: failures(20) };

test("a report that comes twice does not settle another run of its batch", async () => {
  // BRAIN 2.6: one outcome per run. Three failures of three stop; the first of them is reported twice.
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  const assigned = await runtime.report({ candidate: 3 });
  await runtime.settle(assigned, failures(1, { runId: "first" }));
  await runtime.settle(assigned, failures(1, { runId: "first" }));
  await runtime.settle(assigned, failures(2));
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 3, k: 3 }] });
});

test("a rollout that is held for its excluded runs still stops writes and ends when stable breaks as well", async () => {
  const onSharedCause = { weights: "hold", engage: true, for: "1s", then: "stop" } as const;
  const rollout = await exposing({ onSharedCause });
  const runtime = await rollout.runtime();
  await runtime.report({
    candidate: [...successes(40, { status: "cancelled" }), ...successes(60)],
    stable: successes(100),
  });
  await rollout.held("excluded_runs");
  await runtime.report(BOTH_BREAK);
  await eventually("the brain finds the cause shared", async () =>
    (await rollout.standing()).explanation?.includes("Stable breaks the same limit"),
  );
  await eventually("writes are stopped", async () => (await rollout.engaged()).length > 0, 5_000);
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach" });
});

test("a rollout that is held for approval still stops writes when a shared cause shows", async () => {
  const guardrails = [ERROR_RATE, { metric: "latency_p95_ms", max: 1_800, mode: "approval" } as const];
  const rollout = await exposing({ guardrails });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(20, { durationMs: 5_000 }), stable: successes(20, { durationMs: 5 }) });
  await rollout.asked();
  await runtime.report({ candidate: failures(40, { durationMs: 5 }), stable: failures(40, { durationMs: 5 }) });
  await eventually("writes are stopped", async () => (await rollout.engaged()).length > 0, 5_000);
});

test("a person who resumes after a hold has seen its cause, so it does not hold again", async () => {
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, mode: "approval" }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(10) });
  await rollout.asked();
  expect((await rollout.act("resume")).status).toBe(200);
  await runtime.report({ candidate: successes(5) });
  await rollout.judged(15);
  // A later change is committed after whatever the brain made of the last outcomes.
  await rollout.server.call("POST", `/v1/aliases/${ALIAS}/pause`, { reason: "marks the moment" });
  expect(await rollout.audit("decision.open")).toHaveLength(1);
  expect((await rollout.standing()).hold).toBeNull();
});

test("a promoted version that breaks a guardrail of action switch stops writes", async () => {
  // DESIGN 7: any state, the evaluator keeps judging, also promoted.
  const guardrails = [{ ...ERROR_RATE, action: "switch" } as const];
  const rollout = await exposing({ guardrails, stages: [{ name: "full", percent: 100 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(5) });
  await rollout.act("promote");
  await runtime.report({ candidate: failures(40) });
  await eventually("writes are stopped", async () => (await rollout.engaged()).length > 0, 5_000);
});

test("a host that vanished in silence does not keep the later runs of others from going missing", async () => {
  // BRAIN 2.6: its own runs stay pending for ten minutes; nobody else's do.
  const clock = new MovedClock();
  const rollout = await exposing({ outcomeTimeout: "60s" }, { heartbeatMs: 50, clock });
  const [silent, first, second] = await rollout.runtimes(3);
  await silent?.report({ candidate: 1 });
  silent?.raw.fallSilent();
  await eventually("the server gives its socket up", async () => {
    const { body } = await rollout.server.call<{ runtimes: { instance: string }[] }>("GET", "/v1/runtimes");
    return body.runtimes.every(({ instance }) => instance !== silent?.instance);
  });
  // In a later tick than the silent host's, because a run of the same tick was timed out before.
  clock.passSeconds(2);
  await first?.report({ stable: 1 });
  clock.passSeconds(62);
  await eventually("a tick is timed out", async () =>
    (await rollout.standing()).traffic.some(({ missing }) => missing === 1),
  );
  await first?.report({ candidate: 10 });
  await second?.report({ candidate: 10 });
  first?.raw.cut();
  second?.raw.cut();
  clock.passSeconds(62);
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 21, k: 20 }] });
});

test("a server that is busy over the end of a tick still compares the arms of that tick", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  await runtime.report({
    candidate: [...successes(40, { status: "cancelled" }), ...successes(60)],
    stable: successes(100),
  });
  // The server shares this thread: two ticks end before its timer runs again, as under load or by a timer's jitter.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_100);
  await rollout.held("excluded_runs");
});
