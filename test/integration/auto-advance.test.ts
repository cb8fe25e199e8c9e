/**
 * `advance: auto` on a real server: the brain goes up where the gate is open, and nowhere else.
 */
import type { GateAnswer } from "@flagback/schemas";
import { expect, test } from "vitest";
import { ALIAS, eventually, exposing, failures, type RolloutServer, successes } from "../support/rollout.ts";

// data/brain-golden.json, recovery_all_good_outcomes_needed: 71 good outcomes prove a limit of 5 % kept.
const ENOUGH = 71;
const AUTO = {
  advance: "auto",
  stages: [
    { name: "canary", percent: 5, soak: "1ms" },
    { name: "full", percent: 100 },
  ],
} as const;

test("a rollout goes up and is promoted by itself once its gate is open, as the brain, with the reasons", async () => {
  const rollout = await exposing({ ...AUTO, stages: [...AUTO.stages] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(ENOUGH) });
  await eventually("it is promoted", async () => (await rollout.standing()).state === "promoted");
  const [advanced] = await rollout.audit("rollout.advance");
  expect(advanced).toMatchObject({ actor: { kind: "brain" }, decision: "allow", stage: "full" });
  expect(advanced?.reason).toContain("every guardrail is proven healthy");
  expect(advanced?.reason).toContain("stage canary soaks for 1ms");
  expect(await rollout.audit("rollout.promote")).toMatchObject([{ actor: { kind: "brain" } }]);
  // Promoted is not beyond recall.
  expect((await rollout.act("rollback")).status).toBe(200);
});

test("one outcome too few keeps the gate closed, and the gate says how much proof there is", async () => {
  const rollout = await exposing({ ...AUTO, stages: [...AUTO.stages] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(ENOUGH - 1) });
  await rollout.judged(ENOUGH - 1);
  const closed = await gate(rollout);
  expect(closed).toMatchObject({ stage: "canary", next: "full", advance: "auto", isOpen: false, state: "exposing" });
  expect(closed.conditions.filter(({ isMet }) => !isMet)).toEqual([
    {
      condition: "guardrails",
      isMet: false,
      why: expect.stringMatching(/error_rate: 70 runs, 0 bad, evidence 2\.\d\d of 3\.00/),
    },
  ]);
  expect(closed.possible.map(({ command, role }) => [command, role])).toContainEqual(["pause", "operator"]);
  await runtime.report({ candidate: successes(1) });
  await eventually("it goes up", async () => (await rollout.audit("rollout.advance"))[0]);
});

test("nothing goes up by itself while a person pauses it, and a restart forgets neither soak nor proof", async () => {
  const rollout = await exposing({ ...AUTO, stages: [...AUTO.stages] });
  expect((await rollout.act("pause")).status).toBe(200);
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(ENOUGH) });
  await rollout.judged(ENOUGH);
  expect((await gate(rollout)).conditions.filter(({ isMet }) => !isMet).map(({ condition }) => condition)).toEqual([
    "not_paused",
  ]);
  const restarted = await rollout.restart();
  expect(await restarted.standing()).toMatchObject({ state: "paused", weight: 5_000 });
  expect((await restarted.act("resume")).status).toBe(200);
  // No outcome comes any more: what was proven before the restart is enough.
  await eventually("it goes up after the restart", async () => (await restarted.audit("rollout.advance"))[0]);
});

test("a candidate that breaks a guardrail is rolled back, not advanced", async () => {
  const rollout = await exposing({ ...AUTO, stages: [...AUTO.stages] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(20) });
  await rollout.rolledBack();
  expect(await rollout.audit("rollout.advance")).toEqual([]);
});

test("without a rollout there is no gate, and the answer says what is possible instead", async () => {
  const rollout = await exposing();
  await rollout.act("rollback");
  const { status, body } = await rollout.server.call("GET", `/v1/aliases/${ALIAS}/gate`);
  expect(status).toBe(409);
  expect(body).toMatchObject({
    code: "rollout_not_active",
    state: expect.stringMatching(/^(rolled_back|recovering)$/),
    possible: [{ command: "start" }, { command: "roll-forward" }, {}],
  });
});

async function gate(rollout: RolloutServer): Promise<GateAnswer> {
  return (await rollout.server.call<GateAnswer>("GET", `/v1/aliases/${ALIAS}/gate`)).body;
}
