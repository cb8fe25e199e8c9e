/**
 * Guardrails that ask people, against a real server: what is asked, who may answer, and what happens where nobody does.
 */
import type { AskedDecision, ChangeAnswer, Problem } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { MovedClock } from "../support/moved-clock.ts";
import {
  ALIAS,
  CANDIDATE,
  ERROR_RATE,
  eventually,
  exposing,
  failures,
  type RolloutServer,
  STABLE,
  successes,
} from "../support/rollout.ts";

const ASKING = { ...ERROR_RATE, mode: "approval" } as const;
const HALF_AN_HOUR_AND_A_BIT = 30 * 60 + 5;

test("a breach of a guardrail that asks is a decision with its evidence, and an operator's approval rolls back", async () => {
  const rollout = await exposing({ guardrails: [ASKING] });
  await (await rollout.runtime()).report({ candidate: failures(10), stable: successes(10) });
  const asked = await open(rollout);
  expect(asked).toMatchObject({
    alias: ALIAS,
    candidate: CANDIDATE,
    target: STABLE,
    stage: "half",
    round: 1,
    reason: "sla_breach",
    leading: "error_rate",
    summary: expect.stringContaining("10 of 10 runs"),
    evidence: [{ guardrail: "error_rate", n: 10, k: 10 }],
    atDeadline: "rollback",
  });
  expect(Date.parse(asked.deadline) - Date.parse(asked.openedAt)).toBe(30 * 60_000);
  expect(asked).not.toHaveProperty("input");
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000, hold: { cause: "approval" } });

  const operator = await rollout.server.token("operator");
  // The beginning of the id is what the alert says.
  const answered = await answer(rollout, asked.id.slice(0, 12), "approve", operator);
  expect(answered).toMatchObject({ status: 200, body: { change: { status: "done", decisionId: asked.id } } });
  const row = await rollout.rolledBack();
  expect(row).toMatchObject({
    decision: "stop",
    decisionId: asked.id,
    reason: "sla_breach, approved: I agree",
    actor: { kind: "token", name: "test operator" },
    evidence: [{ n: 10, k: 10 }],
  });
  expect(row.lastRunIds).toHaveLength(10);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  expect(await rollout.incidents()).toMatchObject([{ approval: { by: "test operator" }, decisionId: asked.id }]);
  expect((await rollout.replay(asked.id)).body).toMatchObject({ identical: true });
  expect((await answer(rollout, asked.id, "approve", operator)).body).toMatchObject({
    change: { status: "already_rolled_back" },
  });
});

test("a rejection releases what the decision engaged, and only twice the evidence asks again", async () => {
  const rollout = await exposing({ guardrails: [ASKING], approval: { engage: true } });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(10) });
  const asked = await open(rollout);
  expect(await rollout.engaged()).toMatchObject([{ id: `decision_${asked.id.slice(0, 12)}`, scope: `agent=${ALIAS}` }]);

  expect((await answer(rollout, asked.id, "reject")).status).toBe(200);
  expect(await rollout.engaged()).toEqual([]);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000, hold: null });
  expect(await rollout.audit("decision.reject")).toMatchObject([{ decisionId: asked.id, reason: "I agree" }]);
  // Half as much again is not twice.
  await runtime.report({ candidate: failures(5) });
  await rollout.judged(15);
  await runtime.report({ candidate: failures(30) });
  const again = await open(rollout);
  expect(again).toMatchObject({ id: asked.id, round: 2, evidence: [{ n: 45, k: 45 }] });
  expect(await rollout.audit("decision.open")).toHaveLength(2);
  expect((await answer(rollout, asked.id, "approve")).status).toBe(200);
  expect((await rollout.replay(asked.id)).body).toMatchObject({ identical: true });
});

test("where nobody answers the rollback comes at the deadline, also after a restart", async () => {
  const clock = new MovedClock();
  const before = await exposing({ guardrails: [ASKING] }, { clock });
  await (await before.runtime()).report({ candidate: failures(10) });
  const asked = await open(before);
  clock.passSeconds(20 * 60);
  const rollout = await before.restart();
  expect(await decisions(rollout)).toMatchObject([{ id: asked.id, state: "open", deadline: asked.deadline }]);
  clock.passSeconds(10 * 60 + 5);
  expect(await rollout.rolledBack()).toMatchObject({
    actor: { kind: "brain" },
    decisionId: asked.id,
    reason: expect.stringContaining("sla_breach, expired: nobody answered"),
  });
  expect(await decisions(rollout)).toMatchObject([{ state: "expired", closed: { by: "brain" } }]);
  // What it was judged on outlived the restart.
  expect((await rollout.replay(asked.id)).body).toMatchObject({ identical: true });
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
});

test("a policy may let the rollout go on at the deadline, and a late approval is told that it is late", async () => {
  const clock = new MovedClock();
  const rollout = await exposing(
    { guardrails: [ASKING], approval: { atDeadline: "continue", engage: true } },
    { clock },
  );
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const asked = await open(rollout);
  clock.passSeconds(HALF_AN_HOUR_AND_A_BIT);
  await eventually("the deadline is kept", async () => (await rollout.audit("decision.expire"))[0]);
  expect(await rollout.engaged()).toEqual([]);
  expect(await rollout.audit("rollback")).toEqual([]);
  const late = await answer(rollout, asked.id, "approve");
  expect(late).toMatchObject({ status: 409, body: { code: "decision_not_open", state: expect.any(String) } });
  expect((late.body as Problem).detail).toContain("expired by brain");
});

test("a breach of a guardrail that asks nobody rolls back at once and closes what is asked", async () => {
  const latency = { metric: "latency_p95_ms", max: 1_800 } as const;
  const rollout = await exposing({ guardrails: [ASKING, latency] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(20, { durationMs: 10 }) });
  const asked = await open(rollout);
  await runtime.report({ candidate: successes(40, { durationMs: 5_000 }) });
  expect(await rollout.rolledBack()).toMatchObject({ actor: { kind: "brain" }, decisionId: asked.id });
  const [incident] = await rollout.incidents();
  expect(await decisions(rollout)).toMatchObject([{ state: "superseded", incident: incident?.id }]);
  expect((await answer(rollout, asked.id, "reject")).body).toMatchObject({
    code: "decision_not_open",
    state: "rolled_back",
  });
});

test("two operators who answer at once are one answer", async () => {
  const rollout = await exposing({ guardrails: [ASKING] });
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const asked = await open(rollout);
  const answers = await Promise.all([
    answer(rollout, asked.id, "approve"),
    answer(rollout, asked.id, "approve"),
    answer(rollout, asked.id, "reject"),
  ]);
  const done = answers.filter(({ body }) => (body as ChangeAnswer).change?.status === "done");
  expect(done).toHaveLength(1);
  const isRolledBack = (await rollout.standing()).state === "rolled_back";
  expect(await rollout.audit("rollback")).toHaveLength(isRolledBack ? 1 : 0);
  expect(await rollout.audit("decision.reject")).toHaveLength(isRolledBack ? 0 : 1);
});

test("an approval is refused where nothing is asked, with the state, what is possible from there and who may", async () => {
  const rollout = await exposing({ guardrails: [ASKING] });
  expect(await answer(rollout, "0".repeat(64), "approve")).toMatchObject({
    status: 404,
    body: { code: "decision_not_found" },
  });
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const asked = await open(rollout);
  await rollout.act("resume");
  expect(await answer(rollout, asked.id, "approve")).toMatchObject({
    status: 409,
    body: {
      code: "decision_not_open",
      state: "exposing",
      possible: expect.arrayContaining([expect.objectContaining({ command: "rollback", role: "operator" })]),
    },
  });
});

test("on call sees what waits, and answers it, on the command line", async () => {
  const rollout = await exposing({ guardrails: [ASKING] });
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const id = (await open(rollout)).id.slice(0, 12);
  const flagback = async (...args: string[]) => {
    const env = { FLAGBACK_URL: rollout.server.url, FLAGBACK_TOKEN: await rollout.server.token("operator") };
    const io = fakeIo({ env });
    return { status: await runCli(args, io), ...io.written };
  };
  expect((await flagback("rollout", "status", ALIAS)).stdout).toContain(`flagback approve ${id} --reason`);
  const listed = await flagback("decisions");
  expect(listed.stdout).toContain(`${id}  open   ${CANDIDATE} -> ${STABLE}`);
  expect(listed.stdout).toContain("10 of 10 runs");
  expect(await flagback("approve", id, "--reason", "it is bad")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("Rollback triggered"),
  });
  expect((await flagback("decisions")).stdout).toContain("Nothing waits for an approval.");
  expect((await flagback("decisions", "--all")).stdout).toContain("approved");
  expect(await flagback("reject", id, "--reason", "no, wait")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("[decision_not_open]"),
  });
});

test("a deadline that has passed already is no policy", async () => {
  const rollout = await exposing();
  const guardrails = [ASKING];
  for (const deadline of ["0s", "8d"]) {
    const refused = await rollout.server.call("PUT", `/v1/aliases/${ALIAS}`, {
      policy: { guardrails, approval: { deadline } },
    });
    expect(refused).toMatchObject({ status: 400 });
    expect(JSON.stringify(refused.body)).toContain("approval.deadline must be from 1s to 7d");
  }
});

async function decisions(rollout: RolloutServer): Promise<AskedDecision[]> {
  return (await rollout.server.call<{ decisions: AskedDecision[] }>("GET", "/v1/decisions")).body.decisions;
}

function open(rollout: RolloutServer): Promise<AskedDecision> {
  return eventually("people are asked", async () => (await decisions(rollout)).find(({ state }) => state === "open"));
}

function answer(rollout: RolloutServer, id: string, verb: "approve" | "reject", token?: string) {
  const body = { reason: "I agree" };
  return rollout.server.call<ChangeAnswer | Problem>("POST", `/v1/decisions/${id}/${verb}`, body, { token });
}
