/**
 * Every kind of guardrail, mode and action through the real server (BRAIN 2.1, DESIGN 7 and 11).
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { PolicyInput } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import {
  ALIAS,
  CANDIDATE,
  ERROR_RATE,
  eventually,
  exposing,
  failures,
  type Report,
  STABLE,
  successes,
} from "../../support/rollout.ts";

type Guardrail = PolicyInput["guardrails"][number];

test("one critical safety event stops, whoever reports it and however healthy the rest is", async () => {
  const rollout = await exposing({ guardrails: [ERROR_RATE, { metric: "safety.pii_leak", max: 0 }] });
  const [first, second] = await rollout.runtimes(2);
  await first?.report({ candidate: successes(100), stable: successes(100) });
  await second?.report({ candidate: successes(1, { safetyFlags: ["pii_leak"] }) });
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ decision: "stop", reason: "rollback_required" });
  expect(stop.evidence?.find(({ guardrail }) => guardrail === "safety.pii_leak")).toMatchObject({ k: 1 });
});

test("a critical safety event on stable stops no candidate", async () => {
  const rollout = await exposing({ guardrails: [ERROR_RATE, { metric: "safety.pii_leak", max: 0 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(1), stable: successes(1, { safetyFlags: ["pii_leak"] }) });
  expect(await rollout.judged(1)).toMatchObject({ verdict: "allow", state: "exposing" });
});

test("a spend budget stops when it is spent and not before", async () => {
  const budget = { metric: "spend_usd_per_hour", max: 200 } as const;
  const rollout = await exposing({ guardrails: [ERROR_RATE, budget] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(3, { costUsd: 60 }), stable: successes(3, { costUsd: 60 }) });
  expect(await rollout.judged(3)).toMatchObject({ verdict: "allow" });
  await runtime.report({ candidate: successes(1, { costUsd: 20 }) });
  const stop = await rollout.rolledBack();
  expect(stop.reason).toBe("rollback_required");
  expect(stop.evidence?.find(({ guardrail }) => guardrail === budget.metric)).toMatchObject({ k: 200, limit: 200 });
});

test.each<[string, Guardrail, Report, Report]>([
  ["quality", { metric: "quality", min: 0.8 }, { quality: 0.4 }, { quality: 0.85 }],
  ["mean cost", { metric: "cost_usd_mean", max: 0.12, cap: 1 }, { costUsd: 0.9 }, { costUsd: 0.11 }],
  ["latency", { metric: "latency_p95_ms", max: 1_800 }, { durationMs: 1_801 }, { durationMs: 1_800 }],
  ["a custom quantile", { metric: "custom.steps", p95: 40 }, { metrics: { steps: 41 } }, { metrics: { steps: 40 } }],
  ["a custom mean", { metric: "custom.steps", max: 5, cap: 50 }, { metrics: { steps: 45 } }, { metrics: { steps: 4 } }],
  ["a safety rate", { metric: "safety.rude", max: 0.002 }, { safetyFlags: ["rude"] }, {}],
  ["the error rate", ERROR_RATE, { status: "timeout" }, { status: "escalated" }],
])("%s stops a candidate that breaks its limit and lets one within it go on", async (_, guardrail, bad, good) => {
  const within = await exposing({ guardrails: [guardrail] });
  await (await within.runtime()).report({ candidate: successes(60, good), stable: successes(60, good) });
  expect(await within.judged(60)).toMatchObject({ verdict: "allow", state: "exposing" });

  const beyond = await exposing({ guardrails: [guardrail] });
  await (await beyond.runtime()).report({ candidate: successes(20, bad), stable: successes(20, good) });
  expect(await beyond.rolledBack()).toMatchObject({
    reason: "sla_breach",
    evidence: [{ guardrail: expect.stringContaining(guardrail.metric), n: 20 }],
  });
});

test("one run that cost a fortune does not stop a mean that is capped", async () => {
  const rollout = await exposing({ guardrails: [{ metric: "cost_usd_mean", max: 0.12, cap: 1 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: [...successes(1, { costUsd: 900 }), ...successes(19, { costUsd: 0.05 })] });
  expect(await rollout.judged(20)).toMatchObject({ verdict: "allow", state: "exposing" });
});

test("a guardrail that needs approval holds the rollout and rolls nothing back", async () => {
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, mode: "approval" }] });
  await (await rollout.runtime()).report({ candidate: failures(10), stable: successes(10) });
  expect(await rollout.asked()).toMatchObject({ decision: "allow", evidence: [{ n: 10, k: 10 }] });
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000, hold: { cause: "approval" } });
  expect(await rollout.engaged()).toEqual([]);
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a guardrail whose action is freeze holds the weights and engages nothing", async () => {
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, action: "freeze" }] });
  await (await rollout.runtime()).report({ candidate: failures(10), stable: successes(10) });
  await rollout.held("freeze");
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000, hold: { cause: "freeze" } });
  expect(await rollout.engaged()).toEqual([]);
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a guardrail whose action is switch stops writes and moves no weight", async () => {
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, action: "switch" }] });
  await (await rollout.runtime()).report({ candidate: failures(10), stable: successes(10) });
  await eventually("writes are stopped", async () => (await rollout.engaged()).length === 1);
  expect(await rollout.engaged()).toMatchObject([{ scope: `agent=${ALIAS}` }]);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000 });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a guardrail that only observes shows its evidence and does nothing", async () => {
  const observed = { ...ERROR_RATE, mode: "observe" } as const;
  const rollout = await exposing({ guardrails: [observed, { metric: "latency_p95_ms", max: 1_800 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(30, { durationMs: 10 }), stable: successes(30, { durationMs: 10 }) });
  const standing = await rollout.judged(30);
  expect(standing).toMatchObject({ state: "exposing", hold: null, verdict: "allow" });
  expect(standing.evidence[0]).toMatchObject({ k: 30, mode: "observe", share: 0 });
  expect(standing.evidence[0]?.logE).toBeGreaterThan(standing.threshold ?? Number.NaN);
  expect(await rollout.audit("rollout.hold")).toEqual([]);
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a rollout that is held for approval is still rolled back by a guardrail that needs none", async () => {
  const latency = { metric: "latency_p95_ms", max: 1_800 } as const;
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, mode: "approval" }, latency] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(20, { durationMs: 10 }) });
  await rollout.asked();
  await runtime.report({ candidate: successes(40, { durationMs: 5_000 }) });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach" });
});

test("a paused rollout is judged on and rolled back", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  expect((await rollout.act("pause")).status).toBe(200);
  await runtime.report({ candidate: failures(3) });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach" });
});

test("silence holds a rollout, and the candidate's first outcome lets it go on", async () => {
  const rollout = await exposing({ onNoData: { after: "1s", then: "hold" } });
  const runtime = await rollout.runtime();
  await runtime.report({ stable: successes(5) });
  await rollout.held("no_data");
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000, hold: { cause: "no_data" } });
  expect(await rollout.engaged()).toEqual([]);
  await runtime.report({ candidate: successes(1) });
  const resumed = await eventually("it goes on", async () => (await rollout.audit("rollout.resume"))[0]);
  expect(resumed).toMatchObject({ actor: { kind: "brain" } });
});

test("silence rolls back where the policy says so", async () => {
  const rollout = await exposing({ onNoData: { after: "1s", then: "stop" } });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "rollback_required", fromVersion: CANDIDATE });
});

test.each<[string, Report]>([
  ["cancelled", { status: "cancelled" }],
  ["blocked", { status: "blocked" }],
  ["client errors", { status: "failure", errorOrigin: "client" }],
  ["policy errors", { status: "failure", errorOrigin: "policy" }],
  ["callers' defaults", { status: "failure", isDefault: true }],
])(
  "failure can't hide: a candidate with far more runs that end as %s than stable is held, and people are told",
  async (_, excluded) => {
    const rollout = await exposing();
    const runtime = await rollout.runtime();
    await runtime.report({
      candidate: [...successes(40, excluded), ...successes(60)],
      stable: [...successes(2, excluded), ...successes(98)],
    });
    const hold = await rollout.held("excluded_runs");
    expect(hold).toMatchObject({
      decision: "allow",
      fromVersion: STABLE,
      toVersion: CANDIDATE,
      actor: { kind: "brain" },
    });
    expect(hold.summary).toContain("40 %");
    expect(await rollout.standing()).toMatchObject({
      state: "exposing",
      weight: 50_000,
      hold: { cause: "excluded_runs" },
    });
    expect(await rollout.audit("rollback")).toEqual([]);
  },
);

test("a hold reaches the people who are alerted", async () => {
  const alerts: { kind: string; text: string }[] = [];
  const pager = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      alerts.push(JSON.parse(body));
      response.end();
    });
  });
  pager.listen(0, "127.0.0.1");
  await once(pager, "listening");
  onTestFinished(() => void pager.close());
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, action: "freeze" }] });
  const { port } = pager.address() as AddressInfo;
  const hooked = await rollout.server.call("POST", "/v1/webhooks", { url: `http://127.0.0.1:${port}/` });
  expect(hooked.status).toBe(200);
  await (await rollout.runtime()).report({ candidate: failures(10), stable: successes(10) });
  await eventually("the alert comes", () => alerts.length > 0);
  expect(alerts).toMatchObject([{ kind: "hold", text: expect.stringContaining("reason=freeze"), alias: ALIAS }]);
});

test("as many excluded runs on stable as on the candidate hold nothing", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  const half = [...successes(40, { status: "cancelled" }), ...successes(60)];
  await runtime.report({ candidate: half, stable: half });
  expect(await rollout.judged(60)).toMatchObject({ verdict: "allow", hold: null });
});
