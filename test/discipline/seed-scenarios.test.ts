/**
 * The seed's three scenarios with its own configuration, the real server and the real provider: a rollback required in
 * canary, a false alarm, and a signal that comes again; each with what the audit log says of it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { guardTools, withRun } from "@flagback/provider";
import type { Alias, AuditEvent, ChangeAnswer } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { type Agent, type Alerts, agent, alertsOf, stopped } from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, eventually, RolloutServer, STABLE } from "../support/rollout.ts";
import { testServer } from "../support/server.ts";

const CONFIGURATION = readFileSync(
  fileURLToPath(new URL("../fixtures/config/seed-rollback.yaml", import.meta.url)),
  "utf8",
);
/** The seed's canary. */
const STAGES = [
  { name: "canary", percent: 5, soak: "10m" },
  { name: "full", percent: 100 },
] as const;

test("a candidate that breaks its thresholds at 5 % is stopped, loses its traffic, and stays locked until the review is done", async () => {
  const { rollout, one, receiver } = await canary();
  expect(await rollout.allocation()).toEqual({ [STABLE]: 95_000, [CANDIDATE]: 5_000 });

  await eventually("the brain rolls back", async () => {
    await runs(one, 25, (version) => version === CANDIDATE);
    return (await rollout.audit("rollback"))[0];
  });

  await stopped(one);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  const stop = await applied(rollout);
  expect(stop).toMatchObject({
    decision: "stop",
    version: CANDIDATE,
    fromVersion: CANDIDATE,
    toVersion: STABLE,
    stage: "canary",
    actor: { kind: "brain", name: "brain" },
  });
  expect(["rollback_required", "sla_breach", "error_spike"]).toContain(stop.reason);
  expect(Date.parse(stop.timestamp)).toBeLessThanOrEqual(Date.now());
  expect(stop.lastRunIds?.length).toBeGreaterThan(0);
  // Failed runs and failed tool calls, both over their limits of 5 % and 3 %.
  const broken = stop.evidence?.filter(({ rate, p0 }) => rate > p0).map(({ guardrail }) => guardrail);
  expect(broken).toEqual(["error_rate", "tool_failure_rate"]);
  const alert = await receiver.next("rollback");
  expect(alert.text).toBe(`Rollback triggered ${CANDIDATE} -> 2.3.3, reason=${stop.reason}, stage=canary`);

  // Locked until the incident's review is done.
  expect((await rollout.act("rollout", { candidate: CANDIDATE })).body).toMatchObject({ code: "version_locked" });
  const unlock = (more: object) => rollout.act("unlock", { version: CANDIDATE, reason: "fixed", ...more });
  expect((await unlock({})).body).toMatchObject({ code: "root_cause_missing" });
  expect((await unlock({ rootCause: "the tool's schema changed" })).status).toBe(200);
});

test("a short spike that breaks no threshold is allowed, and logged once; the rollout goes on at its stage", async () => {
  const { rollout, one, receiver } = await canary();
  // Two failures among the candidate's first runs: more than half of what a stop needs, and not enough.
  let failures = 0;
  const spike = (version: string) => {
    if (version !== CANDIDATE || failures === 2) return false;
    failures += 1;
    return true;
  };
  while (failures < 2) await runs(one, 1, spike);
  await eventually("the evidence rises above half of what a stop needs", async () => {
    const { logE, threshold } = await rollout.standing();
    return logE !== null && threshold !== null && logE >= threshold / 2;
  });
  const [allowed] = await eventually("it is logged", async () => {
    await runs(one, 100, () => false);
    const rows = await logged(rollout, "verdict");
    return rows.length > 0 && rows;
  });
  await runs(one, 100, () => false);

  expect(allowed).toMatchObject({
    decision: "allow",
    version: CANDIDATE,
    stage: "canary",
    actor: { kind: "brain", name: "brain" },
    summary: expect.stringContaining("fell again; the rollout goes on"),
  });
  expect(allowed?.reason).toBeUndefined();
  expect(allowed?.lastRunIds?.length).toBeGreaterThan(0);
  // One excursion is one row, however many runs are judged.
  expect(await logged(rollout, "verdict")).toHaveLength(1);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", stage: "canary", weight: 5_000 });
  expect(await logged(rollout, "rollback")).toEqual([]);
  expect(await rollout.incidents()).toEqual([]);
  expect(await rollout.engaged()).toEqual([]);
  expect(receiver.alerts()).toEqual([]);
  expect(one.provider.writesAllowed({ agent: ALIAS })).toBe(true);
});

test("a signal that comes again after the rollback is answered with what was done, does nothing twice, and is logged as such", async () => {
  const clock = new MovedClock();
  const { rollout, one, receiver } = await canary(clock);
  await eventually("the brain rolls back", async () => {
    await runs(one, 25, (version) => version === CANDIDATE);
    return (await rollout.audit("rollback"))[0];
  });
  await stopped(one);
  const stop = await applied(rollout);
  const before = await unchanging(rollout);

  // The monitoring repeats itself, and so does the person on call.
  const monitoring = await monitor(rollout);
  const onCall = await rollout.server.token("operator");
  const rollBack = async () => {
    const path = `/v1/aliases/${ALIAS}/rollback`;
    return rollout.server.call<ChangeAnswer>("POST", path, { reason: "the same alert" }, { token: onCall });
  };
  for (const { body } of [await monitoring.fire(), await monitoring.fire(), await rollBack()]) {
    expect(body.change).toMatchObject({
      status: "already_rolled_back",
      decisionId: stop.decisionId,
      incident: stop.incident,
      summary: expect.stringContaining("was rolled back already"),
    });
  }
  const byHand = await cli(rollout, ["rollback", ALIAS, "--reason", "the same alert"]);
  expect(byHand).toMatchObject({ status: 0, stdout: expect.stringContaining("was rolled back already") });

  expect(await unchanging(rollout)).toEqual(before);
  expect(await logged(rollout, "rollback")).toEqual([stop]);
  const [repeated, ...more] = await logged(rollout, "rollback.repeated");
  expect(repeated).toMatchObject({
    decision: "stop",
    reason: "already_rolled_back",
    version: CANDIDATE,
    fromVersion: CANDIDATE,
    toVersion: STABLE,
    stage: "canary",
    decisionId: stop.decisionId,
    incident: stop.incident,
    actor: { kind: "trigger", name: "trigger:sla" },
  });
  expect(repeated?.revision).toBeUndefined();
  // Noise is bounded: one row a minute, and the next one says how much there was.
  expect(more).toEqual([]);
  clock.passSeconds(61);
  await rollBack();
  expect((await logged(rollout, "rollback.repeated")).map(({ summary }) => summary.split(" for the")[0])).toEqual([
    "A signal asked",
    "4 signals asked",
  ]);
  expect(receiver.alerts().filter(({ kind }) => kind === "rollback")).toHaveLength(1);
});

interface Canary {
  readonly rollout: RolloutServer;
  readonly one: Agent;
  readonly receiver: Alerts;
}

/** The seed's configuration as it stands, at the seed's 5 %. */
async function canary(clock = new MovedClock()): Promise<Canary> {
  const server = await testServer({ clock });
  const rollout = new RolloutServer(server, await server.token("runtime"));
  const receiver = await alertsOf(rollout);
  await server.call("POST", "/v1/apply", CONFIGURATION);
  const { body: alias } = await server.call<Alias>("GET", `/v1/aliases/${ALIAS}`);
  await server.call("PUT", `/v1/aliases/${ALIAS}`, { policy: { ...alias.policy, stages: STAGES } });
  const started = await rollout.act("rollout", { candidate: CANDIDATE });
  if (started.status !== 200) throw new Error(`the rollout did not start: ${JSON.stringify(started.body)}`);
  return { rollout, one: await agent(rollout, "seed"), receiver };
}

/** A monitoring system whose alert rolls back. */
async function monitor({ server }: RolloutServer) {
  await server.call("PUT", "/v1/triggers/sla", { action: { kind: "rollback", alias: ALIAS, reason: "error_spike" } });
  const made = await server.call<{ secret: string }>("POST", "/v1/tokens", {
    role: "trigger",
    name: "monitoring",
    trigger: "sla",
  });
  const alert = { reason: "error_spike" };
  return {
    fire: () => server.call<ChangeAnswer>("POST", "/v1/triggers/sla", alert, { token: made.body.secret }),
  };
}

/** Runs that call a tool, which fails, and the run with it, where `fails` says so. */
async function runs({ client }: Agent, count: number, fails: (version: string) => boolean): Promise<void> {
  for (let n = 0; n < count; n++) {
    const once = withRun({ client, agent: ALIAS }, async (current) => {
      const isFailing = fails(await current.pin(ALIAS, "none"));
      const execute = async (): Promise<unknown> => {
        if (isFailing) throw new Error("the order's schema is unknown");
        return "an order";
      };
      return guardTools({ lookup: { execute } }, { writes: [] }).lookup.execute();
    });
    await once.catch(() => "failed");
  }
}

/** The row of the rollback, once it says that the runtime follows. */
function applied(rollout: RolloutServer): Promise<AuditEvent> {
  return eventually("the log says that the switch is applied", async () =>
    (await logged(rollout, "rollback")).find(({ switchStatus }) => switchStatus === "applied 1/1, lapsed 0"),
  );
}

/** The audit log as `flagback audit --json` shows it. */
async function logged(rollout: RolloutServer, action: string): Promise<AuditEvent[]> {
  const { stdout } = await cli(rollout, ["audit", "--alias", ALIAS, "--limit", "1000", "--json"]);
  return (JSON.parse(stdout) as { events: AuditEvent[] }).events.filter((event) => event.action === action);
}

async function cli({ server }: RolloutServer, args: readonly string[]) {
  const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
  return { status: await runCli([...args], io), ...io.written };
}

/** What a signal that comes again must leave as it is. */
async function unchanging(rollout: RolloutServer) {
  const [allocation, engaged, incidents] = [
    await rollout.allocation(),
    await rollout.engaged(),
    (await rollout.incidents()).map(({ id, openedAt }) => ({ id, openedAt })),
  ];
  return { allocation, engaged, incidents };
}
