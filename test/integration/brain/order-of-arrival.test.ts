/**
 * A run counts in the tick of its assignment, once, whenever and however often its report comes (BRAIN 2.6). Runs are
 * announced in one batch, so that they share a tick on every server and only the order of their reports differs.
 */
import { expect, test } from "vitest";
import {
  CANDIDATE,
  eventually,
  exposing,
  failures,
  type Report,
  type Reporter,
  type RolloutServer,
  successes,
} from "../../support/rollout.ts";

const TOOL_FAILURES = { metric: "tool_failure_rate", max: 0.03 } as const;

test("a healthy candidate whose failures come first and whose successes are slow is never stopped", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  const assigned = await runtime.report({ candidate: 100 });
  await runtime.settle(assigned, failures(4));
  // In the order of arrival these are 4 failures of 4. Four of a hundred are under the limit of 5 %.
  const early = await judgedBad(rollout, 4);
  expect(early).toMatchObject({ verdict: "allow", evidence: [{ n: 100, k: 4 }] });
  await runtime.settle(assigned, successes(96));
  await allSettled(rollout, 100);
  const completed = await rollout.standing();
  // Pending runs were good, and good they came: the evidence is what it was.
  expect(completed.evidence[0]).toMatchObject({ n: 100, k: 4, logE: early.evidence[0]?.logE });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a candidate of 15 % failures is stopped by them while its successes are still under way", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  const assigned = await runtime.report({ candidate: 100 });
  await runtime.settle(assigned, failures(14));
  // BRAIN 2.2's table: of 100 runs 15 failures stop, 14 do not.
  expect(await judgedBad(rollout, 14)).toMatchObject({ verdict: "allow" });
  await runtime.settle(assigned, failures(1));
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 100, k: 15 }] });
});

test("a run reported again by HTTP and in a later batch of the stream leaves the evidence as it was", async () => {
  const reports = mixed(40, 4);
  const once = await exposing();
  const plain = await once.runtime(INSTANCE);
  await plain.settle(await plain.report({ candidate: 40 }), reports);

  const again = await exposing();
  const runtime = await again.runtime(INSTANCE);
  const assigned = await runtime.report({ candidate: 40 });
  await runtime.settle(assigned, reports);
  for (let time = 0; time < 3; time++) {
    const seq = await runtime.settle(assigned, reports);
    const { rejected } = await runtime.raw.next("outcomesAck", (ack) => ack.through === seq);
    expect(rejected?.map(({ code }) => code)).toEqual(reports.map(() => "duplicate"));
    expect((await again.reportByHttp(reports)).body).toMatchObject({ accepted: 0, duplicates: 40 });
  }
  expect(await evidenceOf(again, reports)).toEqual(await evidenceOf(once, reports));
  expect((await again.standing()).traffic).toEqual((await once.standing()).traffic);
});

test("failures that are retried as another runtime's are counted once, so retries never stop a healthy candidate", async () => {
  const rollout = await exposing();
  const [first, second] = await rollout.runtimes(2);
  const reports = mixed(100, 4);
  await first?.report({ candidate: reports });
  await second?.report({ candidate: successes(100) });
  const failed = reports.filter(({ status }) => status === "failure");
  for (let time = 0; time < 20; time++) {
    expect((await rollout.reportByHttp(failed)).body).toMatchObject({ accepted: 0, duplicates: 4 });
  }
  expect(await evidenceOf(rollout, [...reports, ...successes(100)])).toMatchObject([{ n: 200, k: 4 }]);
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("any order of reports, any split into batches and any delay within the timeout give the same final evidence", async () => {
  const reports = mixed(60, 6);
  // One batch, so whatever judges its failures judges all of it.
  const inOrder = await evidenceOf(
    await delivered(reports, (runtime, assigned) => runtime.settle(assigned, reports)),
    reports,
  );
  const shuffled = await delivered(reports, async (runtime, assigned) => {
    // A fixed shuffle: 37 is prime to 60, so each comes once.
    const other = reports.map((_, index) => reports[(index * 37) % 60] as Report);
    for (let from = 0; from < 60; from += 7) await runtime.settle(assigned, other.slice(from, from + 7));
  });
  const late = await delivered(reports, async (runtime, assigned, rollout) => {
    await runtime.settle(assigned, reports.slice(0, 20));
    await ticksPassed(rollout);
    await runtime.settle(assigned, reports.slice(20));
  });
  // Acknowledged is before judged.
  const soon = { timeout: 10_000 };
  await expect.poll(() => evidenceOf(shuffled, reports), soon).toEqual(inOrder);
  await expect.poll(() => evidenceOf(late, reports), soon).toEqual(inOrder);
});

test("a shuffled stream that must stop stops with the evidence of the stream in order", async () => {
  const stops = await Promise.all(
    [true, false].map(async (failuresFirst) => {
      const rollout = await exposing();
      const runtime = await rollout.runtime();
      const assigned = await runtime.report({ candidate: 30 });
      const good = () => runtime.settle(assigned, successes(22));
      if (!failuresFirst) await good();
      await runtime.settle(assigned, failures(8));
      const { reason, evidence } = await rollout.rolledBack();
      // BRAIN 2.2's table: 8 of 30.
      expect(evidence).toMatchObject([{ n: 30, k: 8 }]);
      return { reason, logE: evidence?.[0]?.logE };
    }),
  );
  expect(stops[0]).toEqual(stops[1]);
});

test("tool failures that come together in few runs do not stop a candidate at a mean of 2.8 %", async () => {
  const rollout = await exposing({ guardrails: [TOOL_FAILURES] });
  const runtime = await rollout.runtime();
  const clean = (n: number) => successes(n, { toolCalls: 20, toolErrors: 0 });
  // Two of the first twenty runs lose all their calls: 40 of 400 calls, which a test of single calls takes for 10 %.
  await runtime.report({ candidate: [...successes(2, { toolCalls: 20, toolErrors: 20 }), ...clean(18)] });
  expect(await rollout.judged(20)).toMatchObject({ verdict: "allow", evidence: [{ k: 2 }] });
  await runtime.report({ candidate: [...successes(1, { toolCalls: 20, toolErrors: 16 }), ...clean(79)] });
  expect(await rollout.judged(100)).toMatchObject({
    verdict: "allow",
    evidence: [{ k: expect.closeTo(2.8, 9), rate: expect.closeTo(0.028, 9) }],
  });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("tool failures at a mean of 30 % stop the candidate, however they are spread over its runs", async () => {
  for (const reports of [
    [...successes(6, { toolCalls: 20, toolErrors: 20 }), ...successes(14, { toolCalls: 20, toolErrors: 0 })],
    successes(20, { toolCalls: 20, toolErrors: 6 }),
  ]) {
    const rollout = await exposing({ guardrails: [TOOL_FAILURES] });
    const runtime = await rollout.runtime();
    await runtime.report({ candidate: reports });
    expect(await rollout.rolledBack()).toMatchObject({
      reason: "sla_breach",
      evidence: [{ guardrail: "tool_failure_rate", n: 20, k: expect.closeTo(6, 9) }],
    });
  }
});

/** The same on every server, so that whole evidence can be compared. */
const INSTANCE = "0123456789abcdef0123456789abcdef";

/** `n` named runs of which the first `bad` failed. */
function mixed(n: number, bad: number): Report[] {
  return Array.from({ length: n }, (_, index) => ({
    runId: `run-${index}`,
    status: index < bad ? "failure" : "success",
  }));
}

/** A server with so many runs of the candidate, all of whose reports are acknowledged. */
async function delivered(
  reports: readonly Report[],
  deliver: (runtime: Reporter, assigned: number, rollout: RolloutServer) => Promise<unknown>,
): Promise<RolloutServer> {
  const rollout = await exposing({ outcomeTimeout: "30s" });
  const runtime = await rollout.runtime(INSTANCE);
  const assigned = await runtime.report({ candidate: reports.length });
  await deliver(runtime, assigned, rollout);
  return rollout;
}

/** The evidence once every run is settled and every failure judged; ticks are the server's own, so they are left out. */
async function evidenceOf(rollout: RolloutServer, reports: readonly Report[]) {
  await allSettled(rollout, reports.length);
  const { evidence } = await judgedBad(rollout, reports.filter(({ status }) => status === "failure").length);
  return evidence.map(({ startTick: _, ...rest }) => rest);
}

async function allSettled(rollout: RolloutServer, n: number): Promise<void> {
  await eventually(`${n} runs are settled`, async () => {
    const { traffic, evidence } = await rollout.standing();
    return traffic.some(({ version, settled }) => version === CANDIDATE && settled >= n) && evidence[0]?.n === n;
  });
}

function judgedBad(rollout: RolloutServer, k: number) {
  return eventually(`${k} failures are judged`, async () => {
    const standing = await rollout.standing();
    return standing.evidence[0]?.k === k && standing;
  });
}

/** Waits until the server has counted more than one tick: a run on an alias with a timeout of one goes missing. */
async function ticksPassed({ server }: RolloutServer): Promise<void> {
  const name = "clock";
  await server.call("POST", "/v1/apply", {
    versions: ["clock@1", "clock@2"].map((id) => ({ id, kind: "prompt", payload: { id } })),
    aliases: {
      [name]: {
        stable: "clock@1",
        candidates: [{ id: "clock@1", weight: 100 }],
        policy: { guardrails: [{ metric: "error_rate", max: 0.05 }], outcomeTimeout: "1s" },
      },
    },
  });
  const started = await server.call("POST", `/v1/aliases/${name}/rollout`, { candidate: "clock@2" });
  expect(started.status).toBe(200);
  const { RawRuntime } = await import("../../support/raw-runtime.ts");
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: name, version: "clock@1", revision: 1_000, n: 1 }],
    items: [],
  });
  await eventually("its run is missing", async () => {
    const { body } = await server.call<{ traffic: { missing: number }[] }>("GET", `/v1/aliases/${name}/rollout`);
    return body.traffic.some(({ missing }) => missing === 1);
  });
}
