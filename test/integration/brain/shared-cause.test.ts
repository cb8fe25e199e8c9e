/**
 * When stable degrades as well, a rollback helps nobody (BRAIN 2.7, DESIGN 7).
 */
import { expect, test } from "vitest";
import {
  ALIAS,
  CANDIDATE,
  ERROR_RATE,
  eventually,
  exposing,
  failures,
  STABLE,
  successes,
} from "../../support/rollout.ts";

const BOTH_BREAK = {
  candidate: [...failures(10), ...successes(10)],
  stable: [...failures(10), ...successes(10)],
};
const SOON = { weights: "hold", engage: true, for: "1s", then: "stop" } as const;
const RELATIVE = { metric: "error_rate", relativeTo: "stable", maxOddsRatio: 1.5 } as const;

test("when both arms break, the weights hold, writes stop and nobody is locked", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  const before = await rollout.allocation();
  await runtime.report(BOTH_BREAK);
  const hold = await rollout.held("shared_cause");
  expect(hold).toMatchObject({ decision: "allow", actor: { kind: "brain" }, evidence: [{ n: 20, k: 10 }] });
  expect(await rollout.standing()).toMatchObject({
    state: "exposing",
    verdict: "hold",
    hold: { cause: "shared_cause" },
  });
  expect(await rollout.allocation()).toEqual(before);
  expect(before).toEqual({ [STABLE]: 50_000, [CANDIDATE]: 50_000 });
  expect(await rollout.engaged()).toMatchObject([{ owner: `rollout:${ALIAS}/1`, scope: `agent=${ALIAS}` }]);
  expect(await rollout.incidents()).toEqual([]);
  const { body } = await rollout.server.call("GET", `/v1/aliases/${ALIAS}`);
  expect(body).toMatchObject({ locks: [] });
});

test("a shared cause that lasts longer than the policy allows ends in a stop whose attribution is shared", async () => {
  const rollout = await exposing({ onSharedCause: SOON });
  const runtime = await rollout.runtime();
  await runtime.report(BOTH_BREAK);
  const hold = await rollout.held("shared_cause");
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ decision: "stop", reason: "sla_breach", actor: { kind: "brain" } });
  expect(Date.parse(stop.timestamp) - Date.parse(hold.timestamp)).toBeGreaterThanOrEqual(1_000);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  // The incident holds the switch from here on, alone.
  expect(await rollout.engaged()).toMatchObject([{ owner: `incident:${stop.incident}` }]);
  expect(await rollout.storedDecision()).toMatchObject({ attribution: "shared", reason: "sla_breach" });
});

test("a shared cause under a policy that does not engage leaves writes alone", async () => {
  const rollout = await exposing({ onSharedCause: { ...SOON, engage: false, for: "5m" } });
  const runtime = await rollout.runtime();
  await runtime.report(BOTH_BREAK);
  await rollout.held("shared_cause");
  expect(await rollout.engaged()).toEqual([]);
});

test("a candidate far worse than a broken stable is stopped as an error spike of its own", async () => {
  const rollout = await exposing({ guardrails: [ERROR_RATE, RELATIVE] });
  const runtime = await rollout.runtime();
  await runtime.report({
    candidate: [...failures(36), ...successes(4)],
    stable: [...failures(10), ...successes(30)],
  });
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ reason: "error_spike", evidence: [{ k: 36 }, { k: 36, stable: { n: 40, k: 10 } }] });
  expect(await rollout.storedDecision()).toMatchObject({ attribution: "candidate" });
});

test("a candidate that becomes far worse during a shared incident is stopped at once", async () => {
  const rollout = await exposing({ guardrails: [ERROR_RATE, RELATIVE] });
  const runtime = await rollout.runtime();
  await runtime.report(BOTH_BREAK);
  await rollout.held("shared_cause");
  await runtime.report({ candidate: failures(40), stable: [...failures(10), ...successes(30)] });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "error_spike" });
});

test("a breach while stable is proven healthy is the candidate's own, and without any word of stable undetermined", async () => {
  const healthy = await exposing();
  // BRAIN 2.7: 71 clean outcomes prove an arm healthy at a limit of 5 %.
  await (await healthy.runtime()).report({ candidate: failures(3), stable: successes(100) });
  await healthy.rolledBack();
  expect(await healthy.storedDecision()).toMatchObject({ reason: "sla_breach", attribution: "candidate" });

  const unknown = await exposing();
  await (await unknown.runtime()).report({ candidate: failures(3) });
  await unknown.rolledBack();
  expect(await unknown.storedDecision()).toMatchObject({ reason: "sla_breach", attribution: "undetermined" });
});

test("three failures of a candidate at 1 % against a stable without one are an error spike", async () => {
  const rollout = await exposing({ guardrails: [RELATIVE], stages: [{ name: "canary", percent: 1 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(3), stable: successes(297) });
  const stop = await rollout.rolledBack();
  expect(stop.reason).toBe("error_spike");
  // BRAIN 2.3: all three failures on a candidate at 1 % are e = 3 000, more or less; 100 are needed.
  const spike = stop.evidence?.[0];
  expect(Math.exp(spike?.relativeLogE ?? 0)).toBeGreaterThan(1_000);
  expect(Math.exp(spike?.relativeLogE ?? 0)).toBeLessThan(10_000);
  expect(spike).toMatchObject({ n: 3, k: 3, stable: { n: 297, k: 0 } });
});

test("two failures of a candidate at 1 % that stable has as well do not stop it", async () => {
  const rollout = await exposing({ guardrails: [RELATIVE], stages: [{ name: "canary", percent: 1 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: [...failures(2), ...successes(1)], stable: [...failures(198), ...successes(99)] });
  expect(await rollout.judged(3)).toMatchObject({ verdict: "allow", state: "exposing" });
  await eventually("stable is judged", async () => (await rollout.standing()).evidence[0]?.stable?.k === 198);
  expect(await rollout.audit("rollback")).toEqual([]);
});
