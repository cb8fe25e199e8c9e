/**
 * A rollback by the brain and one by the person on call, and what the audit log says of them.
 */
import type { AuditEvent } from "@flagback/schemas";
import { expect } from "vitest";
import { agent, failUntilRolledBack, stopped } from "../support/agents.ts";
import { CANDIDATE, exposing, STABLE } from "../support/rollout.ts";

/** Answers what is asserted about a field of both rows. */
export async function rollbacks(): Promise<(field: keyof AuditEvent) => void> {
  const rollout = await exposing();
  const { server } = rollout;
  const one = await agent(rollout, "logged");
  const onCall = await server.token("operator");

  const begun = Date.now();
  await failUntilRolledBack(rollout, [one]);
  await stopped(one);
  const between = Date.now();
  const [incident] = await rollout.incidents();
  await server.call("POST", `/v1/incidents/${incident?.id}/release`, { reason: "reviewed" });
  await rollout.act("unlock", { version: CANDIDATE, reason: "fixed", rootCause: "a broken tool" });
  await rollout.act("rollout", { candidate: CANDIDATE });
  await server.call(
    "POST",
    "/v1/aliases/support-agent/rollback?wait=applied",
    { reason: "a customer complained" },
    { token: onCall },
  );
  const ended = Date.now();
  await one.provider.onClose();
  // A server that stops writes down how far each change has come.
  const [automatic, manual] = await (await rollout.restart()).audit("rollback");

  const expected: Partial<Record<keyof AuditEvent, readonly [automatic: unknown, manual: unknown]>> = {
    reason: ["sla_breach", "manual: a customer complained"],
    fromVersion: [CANDIDATE, CANDIDATE],
    toVersion: [STABLE, STABLE],
    stage: ["half", "half"],
    switchStatus: ["applied 1/1, lapsed 0", "applied 1/1, lapsed 0"],
    actor: [
      { kind: "brain", name: "brain" },
      { kind: "token", name: "test operator", id: expect.any(String) },
    ],
  };
  return (field) => {
    if (field === "timestamp") {
      expectWithin(automatic?.timestamp, begun, between);
      expectWithin(manual?.timestamp, between, ended);
    } else expect([automatic?.[field], manual?.[field]]).toEqual(expected[field]);
  };
}

function expectWithin(timestamp: string | undefined, fromMs: number, toMs: number): void {
  const ms = Date.parse(timestamp ?? "");
  expect(ms).toBeGreaterThanOrEqual(fromMs);
  expect(ms).toBeLessThanOrEqual(toMs);
}
