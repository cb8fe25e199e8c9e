/**
 * Who may decide (DESIGN 8), against a real server: whoever is on call can always go down, and whoever goes up past the gate is
 * heard.
 */
import { MACHINE, type MachineState, PEOPLES_COMMANDS } from "@flagback/core";
import { expect, test } from "vitest";
import { isAllowed } from "../../server/src/auth/tokens.ts";
import { alertsOf } from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, ERROR_RATE, eventually, exposing, failures, STABLE } from "../support/rollout.ts";

const STAGES = [
  { name: "canary", percent: 5 },
  { name: "half", percent: 50 },
  { name: "full", percent: 100 },
] as const;

test("in every state that has something to roll back, an operator may, and nothing that goes down needs more", () => {
  const goingDown = ["rollback", "approve", "reject", "pauseRollout"] as const;
  for (const command of goingDown) expect(isAllowed("operator", PEOPLES_COMMANDS[command].role), command).toBe(true);
  const under = ["exposing", "held", "deciding", "paused", "paused_held", "paused_deciding"] as const;
  const promoted = ["promoted", "promoted_held", "promoted_deciding"] as const;
  for (const state of [...under, ...promoted] satisfies MachineState[]) {
    expect(MACHINE[state].rollback).toMatchObject({ kind: "to", state: "rolled_back" });
  }
});

test.each<[string, (act: (verb: string, body?: object) => Promise<unknown>) => Promise<unknown>]>([
  ["exposing", async () => undefined],
  ["paused", (act) => act("pause")],
  ["promoted", (act) => act("promote")],
])("an operator's token rolls back a rollout that is %s, and advances, resumes and unlocks nothing", async (_, way) => {
  const rollout = await exposing({ stages: [{ name: "full", percent: 100 }] });
  await way((verb, body) => rollout.act(verb, body));
  const token = await rollout.server.token("operator");
  const post = (verb: string, body: object) =>
    rollout.server.call("POST", `/v1/aliases/${ALIAS}/${verb}`, body, { token });
  for (const verb of ["advance", "resume", "promote"]) {
    expect(await post(verb, { reason: "r" })).toMatchObject({ status: 403, body: { code: "forbidden" } });
  }
  expect((await post("rollback", { reason: "it is bad" })).status).toBe(200);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  expect((await post("unlock", { version: CANDIDATE, reason: "r", rootCause: "c" })).status).toBe(403);
});

test("an operator's token answers a decision, and a viewer's does not", async () => {
  const rollout = await exposing({ guardrails: [{ ...ERROR_RATE, mode: "approval" }] });
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const { decisionId } = await rollout.asked();
  const approve = async (role: "viewer" | "operator") =>
    (
      await rollout.server.call(
        "POST",
        `/v1/decisions/${decisionId}/approve`,
        { reason: "r" },
        { token: await rollout.server.token(role) },
      )
    ).status;
  expect(await approve("viewer")).toBe(403);
  expect(await approve("operator")).toBe(200);
});

test("a refused gate is a row that says who wanted up and what stood against it, once a minute for the same", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({ stages: [...STAGES] }, { clock });
  const advance = (token?: string) =>
    rollout.server.call("POST", `/v1/aliases/${ALIAS}/advance`, { reason: "it looks good" }, { token });
  for (let time = 0; time < 3; time++) expect((await advance()).body).toMatchObject({ code: "gate_closed" });
  const [row, ...more] = await rollout.audit("gate.refused");
  expect(more).toEqual([]);
  expect(row).toMatchObject({
    actor: { kind: "token", name: "first admin" },
    target: `alias:${ALIAS}`,
    reason: "it looks good",
    fromVersion: STABLE,
    toVersion: CANDIDATE,
    stage: "canary",
    summary: expect.stringContaining("not proven healthy"),
  });
  expect(row).not.toHaveProperty("decision");
  expect(row).not.toHaveProperty("revision");
  // Somebody else is news, and so is the same person a minute later.
  await advance(await rollout.server.token("lead"));
  expect(await rollout.audit("gate.refused")).toHaveLength(2);
  clock.passSeconds(61);
  await advance();
  expect(await rollout.audit("gate.refused")).toHaveLength(3);
});

test("a start that a missing drill refuses is a row too", async () => {
  const rollout = await exposing();
  await rollout.act("rollback");
  await rollout.act("unlock", { version: CANDIDATE, reason: "again", rootCause: "none" });
  const [incident] = await rollout.incidents();
  await rollout.server.call("POST", `/v1/incidents/${incident?.id}/release`, { reason: "a test" });
  const policy = { guardrails: [ERROR_RATE], requireDrill: { maxAge: "30d" } };
  await rollout.server.call("PUT", `/v1/aliases/${ALIAS}`, { policy });
  expect((await rollout.act("rollout", { candidate: CANDIDATE, reason: "in a hurry" })).body).toMatchObject({
    code: "drill_required",
  });
  const [row] = await rollout.audit("gate.refused");
  expect(row).toMatchObject({ reason: "in a hurry", fromVersion: STABLE, toVersion: CANDIDATE });
});

test("who passes a closed gate, or begins beyond the first stage, is alerted about and recorded with the reason", async () => {
  const rollout = await exposing({ stages: [...STAGES] });
  const receiver = await alertsOf(rollout);
  const bypassed = await rollout.act("advance", { reason: "the fix is small", bypassGate: true });
  expect(bypassed.status).toBe(200);
  const loud = await receiver.next("bypass");
  for (const said of [loud.text, (await rollout.audit("rollout.advance"))[0]?.summary]) {
    expect(said).toContain("not proven healthy");
  }
  expect(loud.text).toContain("by first admin, reason=the fix is small");
  expect((await rollout.audit("rollout.advance"))[0]).toMatchObject({ reason: "the fix is small" });

  await rollout.act("rollback", { reason: "to begin again" });
  await rollout.act("unlock", { version: CANDIDATE, reason: "again", rootCause: "none" });
  for (const { id } of await rollout.incidents()) {
    await rollout.server.call("POST", `/v1/incidents/${id}/release`, { reason: "looked at it" });
  }
  await rollout.act("rollout", { candidate: CANDIDATE, stage: "half", reason: "we are late" });
  const skipped = await eventually("the skipped stage is told", () =>
    receiver.alerts().find(({ text }) => text.includes("Started without canary")),
  );
  expect(skipped).toMatchObject({ kind: "bypass", text: expect.stringContaining("reason=we are late") });
  expect((await rollout.audit("rollout.start")).at(-1)?.summary).toContain("skipping canary");
});
