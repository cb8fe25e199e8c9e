/**
 * What the server makes of outcomes that arrive by raw sockets: one stop is one row, and what was allowed is audited too.
 */
import type { AuditEvent, Incident } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const CANDIDATE = "support-agent@2.4.0";

test("one stop is one audit row, one incident and one switch entry, however often and from however many sockets the signal comes", async () => {
  const plan = fc.record({
    sockets: fc.integer({ min: 1, max: 6 }),
    batches: fc.integer({ min: 1, max: 4 }),
    people: fc.integer({ min: 0, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ sockets, batches, people }) => {
      const server = await exposing();
      const token = await server.token("runtime");
      const runtimes = await Promise.all(Array.from({ length: sockets }, () => RawRuntime.connect(server.url, token)));
      for (let seq = 1; seq <= batches; seq++)
        for (const runtime of runtimes) runtime.send(batch(seq, 5, 5, runtime.instance));
      await Promise.all(
        Array.from({ length: people }, () =>
          server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "me too" }),
        ),
      );
      for (const runtime of runtimes) await runtime.next("outcomesAck", (ack) => ack.through === batches);
      await eventually("it is rolled back", async () => (await stops(server)).length > 0);
      for (const runtime of runtimes) runtime.send(batch(batches + 1, 5, 5, runtime.instance));
      for (const runtime of runtimes) await runtime.next("outcomesAck", (ack) => ack.through === batches + 1);
      const again = await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "again" });
      expect(again.body).toMatchObject({ change: { status: "already_rolled_back" } });
      expect(await stops(server)).toHaveLength(1);
      const { body } = await server.call<{ incidents: Incident[] }>("GET", "/v1/incidents");
      expect(body.incidents).toHaveLength(1);
      const switches = await server.call<{ killSwitches: { engaged: unknown[] }[] }>("GET", "/v1/kill-switches");
      expect(switches.body.killSwitches[0]?.engaged).toHaveLength(1);
      await server.close();
    }),
    { numRuns: 8 },
  );
});

test("evidence that rose above half of what a stop needs and fell again is audited as allow, once", async () => {
  const server = await exposing();
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  // data/brain-golden.json: two failures of two are 3.95 of 4.61; 60 successes beside them are far below half of it.
  runtime.send(batch(1, 2, 2, "x"));
  await eventually("the evidence rose", async () => (await standing(server)).logE > 2.31);
  runtime.send(batch(2, 60, 0, "x"));
  const allowed = await eventually("it is audited", async () =>
    (await audit(server)).find((event) => event.action === "verdict"),
  );
  expect(allowed).toMatchObject({
    decision: "allow",
    stage: "canary",
    toVersion: CANDIDATE,
    evidence: [{ guardrail: "error_rate" }],
  });
  expect(allowed.revision).toBeUndefined();
  expect((await standing(server)).state).toBe("exposing");
});

test("an incident says how long deciding and committing took, and after how many outcomes", async () => {
  const server = await exposing();
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  runtime.send(batch(1, 3, 3, "x"));
  await eventually("it is rolled back", async () => (await stops(server))[0]);
  const { body } = await server.call<{ incidents: { timings: object; outcomesToDecision: number }[] }>(
    "GET",
    "/v1/incidents",
  );
  expect(body.incidents[0]).toMatchObject({
    outcomesToDecision: 3,
    timings: { decideMs: expect.any(Number), commitMs: expect.any(Number) },
  });
});

test("a rollout advances once its outcomes prove it healthy, and goes on being judged at its new stage", async () => {
  const server = await exposing();
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const advance = () => server.call<{ code?: string }>("POST", "/v1/aliases/support-agent/advance", { reason: "on" });
  runtime.send(batch(1, 70, 0, "good"));
  await runtime.next("outcomesAck", (ack) => ack.through === 1);
  expect((await advance()).body.code).toBe("gate_closed");
  // data/brain-golden.json, recovery_all_good_outcomes_needed: 71 good outcomes prove a limit of 5 % kept.
  runtime.send(batch(2, 1, 0, "good"));
  await runtime.next("outcomesAck", (ack) => ack.through === 2);
  expect((await advance()).status).toBe(200);
  expect(await standing(server)).toMatchObject({ state: "exposing", stage: "full", weight: 100_000 });
  runtime.send(batch(3, 40, 40, "bad"));
  await eventually("it is rolled back", async () => (await stops(server))[0]);
  expect((await stops(server))[0]).toMatchObject({ stage: "full", toVersion: "support-agent@2.3.3" });
});

test("runs of an earlier rollout are no evidence in a later one of the same version", async () => {
  const server = await exposing();
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const { revision } = await runtime.next("snapshot");
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "x" });
  await server.call("POST", "/v1/aliases/support-agent/unlock", {
    version: CANDIDATE,
    reason: "x",
    rootCause: "x",
  });
  const again = { version: CANDIDATE, percent: 50, reason: "x" };
  await server.call("POST", "/v1/aliases/support-agent/roll-forward", again);
  // Handed out under the first rollout's revision, while the runtime was cut off.
  const late = batch(1, 20, 20, "late");
  runtime.send({ ...late, assigned: late.assigned.map((each) => ({ ...each, revision })) });
  runtime.send(batch(2, 40, 0, "now"));
  await runtime.next("outcomesAck", (ack) => ack.through === 2);
  const judged = await eventually("the second rollout is judged", async () => {
    const now = await standing(server);
    return now.evidence.length > 0 && now;
  });
  expect(judged).toMatchObject({ state: "exposing", evidence: [{ n: 40, k: 0 }] });
});

test("outcomes of stable never stop the candidate, and blocked, cancelled or client failures never count against it", async () => {
  const server = await exposing();
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const stable = "support-agent@2.3.3";
  const base = { assignedSeq: 1, alias: "support-agent" };
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: [
      { alias: "support-agent", version: stable, revision: 1_000, n: 20 },
      { alias: "support-agent", version: CANDIDATE, revision: 1_000, n: 40 },
    ],
    items: [
      ...Array.from({ length: 20 }, (_, n) => ({ ...base, runId: `s${n}`, version: stable, status: "failure" })),
      ...Array.from({ length: 10 }, (_, n) => ({ ...base, runId: `b${n}`, version: CANDIDATE, status: "blocked" })),
      ...Array.from({ length: 10 }, (_, n) => ({ ...base, runId: `x${n}`, version: CANDIDATE, status: "cancelled" })),
      ...Array.from({ length: 10 }, (_, n) => ({
        ...base,
        runId: `c${n}`,
        version: CANDIDATE,
        status: "failure",
        errorOrigin: "client",
      })),
      ...Array.from({ length: 10 }, (_, n) => ({
        ...base,
        runId: `w${n}`,
        version: CANDIDATE,
        status: "failure",
        blockedWrites: 1,
      })),
    ],
  });
  await runtime.next("outcomesAck");
  const judged = await eventually("it is judged", async () => {
    const now = await standing(server);
    return now.traffic.find((each) => each.version === CANDIDATE)?.settled === 40 && now.evidence.length > 0 && now;
  });
  expect(judged).toMatchObject({ state: "exposing", evidence: [{ n: 0, k: 0 }] });
});

function batch(seq: number, n: number, failures: number, prefix: string) {
  return {
    type: "outcomes",
    seq,
    assigned: [{ alias: "support-agent", version: CANDIDATE, revision: 1_000, n }],
    items: Array.from({ length: n }, (_, index) => ({
      assignedSeq: seq,
      runId: `${prefix}-${seq}-${index}`,
      alias: "support-agent",
      version: CANDIDATE,
      status: index < failures ? "failure" : "success",
    })),
  };
}

interface Standing {
  readonly state: string;
  readonly logE: number;
  readonly evidence: readonly object[];
  readonly traffic: readonly { readonly version: string; readonly settled: number }[];
}

async function standing(server: TestServer): Promise<Standing> {
  return (await server.call<Standing>("GET", "/v1/aliases/support-agent/rollout")).body;
}

async function audit(server: TestServer): Promise<AuditEvent[]> {
  return (await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit?limit=1000")).body.events;
}

async function stops(server: TestServer): Promise<AuditEvent[]> {
  return (await audit(server)).filter((event) => event.action === "rollback");
}

async function exposing(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: CANDIDATE });
  return server;
}
