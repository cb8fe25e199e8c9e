/**
 * A fix during an open recovery, against a real server: by the ordinary way it waits, on the fast track it goes, loudly.
 */
import type { Alias, Incident, Problem } from "@flagback/schemas";
import { expect, test } from "vitest";
import { MovedClock } from "../support/moved-clock.ts";
import {
  ALIAS,
  CANDIDATE,
  eventually,
  exposing,
  failures,
  type RolloutServer,
  STABLE,
  successes,
} from "../support/rollout.ts";

const FIX = `${ALIAS}@2.4.1`;

test("a new rollout during an open recovery is refused, and what is possible instead is named", async () => {
  const rollout = await rolledBackWithFix();
  const { status, body } = await rollout.act("rollout", { candidate: FIX });
  const problem = body as unknown as Problem;
  expect(status).toBe(409);
  const [incident] = await rollout.incidents();
  expect(problem).toMatchObject({ code: "gate_closed", problems: [`incident ${incident?.id} is open`] });
  expect(problem.possible?.map(({ command, role }) => [command, role])).toEqual([
    ["start", "lead"],
    ["roll-forward", "lead"],
    ["unlock", "lead"],
  ]);
  // A person answers for it, and the ordinary way is open again.
  await rollout.server.call("POST", `/v1/incidents/${incident?.id}/release`, { reason: "looked at the traces" });
  expect((await rollout.act("rollout", { candidate: FIX })).status).toBe(200);
});

test("a roll-forward exposes the fix at once, records what it passed by, and gives up the unproven recovery", async () => {
  const rollout = await rolledBackWithFix();
  const operator = await rollout.server.token("operator");
  const body = { version: FIX, reason: "one phrase" };
  const path = `/v1/aliases/${ALIAS}/roll-forward`;
  expect((await rollout.server.call("POST", path, body, { token: operator })).status).toBe(403);
  expect((await rollout.server.call("POST", path, body)).status).toBe(200);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 95_000, [FIX]: 5_000 });
  const [row] = await rollout.audit("rollout.forward");
  expect(row).toMatchObject({ reason: "one phrase", toVersion: FIX, stage: "canary", decision: "allow" });
  expect(row?.summary).toContain("half 50 %");
  const incident = await eventually("the recovery is given up", async () => {
    const [first] = await rollout.incidents();
    return first?.state === "unverified" && first;
  });
  expect(incident.id).toBe(row?.incident);
  expect(incident.timeline.map(({ text }) => text).join("\n")).toContain("Rolled forward");
  // What the incident engaged stays, until somebody releases it.
  expect(await rollout.engaged()).toHaveLength(1);
});

test("the brain judges a fix on the fast track, and rolls it back to the same stable version", async () => {
  const rollout = await rolledBackWithFix();
  await rollout.act("roll-forward", { version: FIX, percent: 50, reason: "one phrase" });
  const runtime = await rollout.runtime();
  // The reporter's candidate is the version before; the fix is reported by its name.
  await runtime.reportVersion(FIX, failures(20));
  await eventually("the fix is rolled back", async () => (await rollout.audit("rollback")).length === 2);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  const { body } = await rollout.server.call<Alias>("GET", `/v1/aliases/${ALIAS}`);
  expect(body.locks.map(({ version }) => version)).toEqual([CANDIDATE, FIX]);
});

test("two leads who advance what they both saw pass no stage by, also without If-Match and without a soak", async () => {
  const stages = [
    { name: "canary", percent: 5 },
    { name: "half", percent: 50 },
    { name: "full", percent: 100 },
  ];
  const rollout = await exposing({ stages });
  const advance = () => rollout.act("advance", { reason: "on", bypassGate: true, fromStage: "canary" });
  const answers = await Promise.all([advance(), advance(), advance()]);
  const done = answers.map(({ body }) => (body as unknown as { change: { status: string } }).change.status);
  expect(done.sort()).toEqual(["done", "unchanged", "unchanged"]);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000 });
});

test("agents that report over HTTP alone recover by their reports, once those are old enough to be judged", async () => {
  const { rollout, clock } = await rolledBack();
  const reports = successes(71).map((report, n) => ({ ...report, runId: `by-http-${n}`, version: STABLE }));
  expect((await rollout.reportByHttp(reports)).body).toMatchObject({ accepted: 71, duplicates: 0 });
  expect((await incidentOf(rollout)).state).toBe("open");
  // `outcomeTimeout` is a minute; and nobody who was there at the rollback has a lease any more.
  clock.passSeconds(62);
  const recovered = await eventually("it has recovered", async () => {
    const incident = await incidentOf(rollout);
    return incident.state === "recovered" && incident;
  });
  expect(recovered.recovery?.runs).toBe(71);
  expect(await rollout.engaged()).toEqual([]);
});

async function rolledBack() {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  await rollout.act("rollback");
  return { rollout, clock };
}

async function rolledBackWithFix(): Promise<RolloutServer> {
  const { rollout } = await rolledBack();
  await rollout.server.call("POST", "/v1/versions", {
    id: FIX,
    kind: "prompt",
    payload: { prompt: "Be brief and kind." },
  });
  return rollout;
}

async function incidentOf(rollout: RolloutServer): Promise<Incident> {
  const [incident] = await rollout.incidents();
  if (!incident) throw new Error("there is no incident");
  return incident;
}
