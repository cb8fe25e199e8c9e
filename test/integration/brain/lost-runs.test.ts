/**
 * A run that nobody reports is missing once `outcomeTimeout` has passed, and missing is bad (BRAIN 2.6).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { MovedClock } from "../../support/moved-clock.ts";
import {
  CANDIDATE,
  eventually,
  exposing,
  failures,
  type RolloutServer,
  STABLE,
  successes,
} from "../../support/rollout.ts";

/** Half of their keys get the candidate, more or less: seven of `crash-0` to `crash-19` do. */
const RUNS = 20;
const CRASHING_AGENT = fileURLToPath(new URL("./crashing-agent.ts", import.meta.url));

test("runs that are open when a runtime's socket is cut go missing, and the candidate is rolled back", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 3 });
  runtime.raw.cut();
  const stop = await rollout.rolledBack();
  // Three bad of three in one tick, by BRAIN 2.2's formulas: ln(0.7 * sum of pi_j (q_j / 0.05)^3) = 6.680325522.
  expect(stop).toMatchObject({
    decision: "stop",
    reason: "sla_breach",
    evidence: [{ n: 3, k: 3, logE: expect.closeTo(6.680325522, 8) }],
  });
  expect(await traffic(rollout)).toMatchObject({ assigned: 3, settled: 0, missing: 3 });
});

test("runs that a connected runtime never reports go missing as well", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 3 });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 3, k: 3 }] });
});

test("one runtime of two that is cut with all its runs open does not decide alone", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const [cut, healthy] = await rollout.runtimes(2);
  await healthy?.report({ candidate: successes(10) });
  await cut?.report({ candidate: 10 });
  cut?.raw.cut();
  const standing = await judgedBad(rollout, 10);
  expect(standing).toMatchObject({ state: "exposing", verdict: "allow", heldBackBy: cut?.instance });
});

test("runs of stable that go missing count against no candidate", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(5), stable: 20 });
  runtime.raw.cut();
  await eventually("they are missing", async () =>
    (await rollout.standing()).traffic.some(({ missing }) => missing === 20),
  );
  expect(await rollout.judged(5)).toMatchObject({ state: "exposing", verdict: "allow", evidence: [{ k: 0 }] });
});

test("a candidate that crashes its process before it can report is rolled back", { timeout: 60_000 }, async () => {
  // No run times out before the process is gone: a rollback between its first run and its last would end the candidate's.
  const clock = new MovedClock();
  const rollout = await exposing({ outcomeTimeout: "60s" }, { clock });
  const token = await rollout.server.token("runtime");
  const child = spawn(
    process.execPath,
    [
      "--conditions=flagback:source",
      "--import",
      "tsx",
      CRASHING_AGENT,
      rollout.server.url,
      token,
      CANDIDATE,
      String(RUNS),
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  // All of them: stable's are reported, the candidate's are open. Its process compiles its sources first.
  const isAnnounced = async () => {
    const stable = await traffic(rollout, STABLE);
    return stable.settled === stable.assigned && stable.settled + (await traffic(rollout)).assigned === RUNS;
  };
  await eventually("the provider has announced its runs", isAnnounced, 30_000);
  child.kill("SIGKILL");
  const [, signal] = await ended;
  expect(signal).toBe("SIGKILL");
  clock.passSeconds(62);
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ decision: "stop", reason: "sla_breach", fromVersion: CANDIDATE });
  const { settled, missing } = await traffic(rollout);
  expect(settled).toBe(0);
  expect(missing).toBeGreaterThanOrEqual(3);
});

test("a crash that takes as many runs of stable with it is held as a shared cause, with writes stopped, and stops when that time is over", async () => {
  const onSharedCause = { weights: "hold", engage: true, for: "1s", then: "stop" } as const;
  const rollout = await exposing({ outcomeTimeout: "1s", onSharedCause });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 5, stable: 5 });
  runtime.raw.cut();
  await rollout.held("shared_cause");
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 5, k: 5 }] });
});

test("the runs of a host that vanished in silence stay pending: they are no evidence against a version", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({ outcomeTimeout: "60s" }, { heartbeatMs: 50, clock });
  const [silent, cut] = await rollout.runtimes(2);
  await silent?.report({ candidate: 10 });
  silent?.raw.fallSilent();
  await eventually("the server gives its socket up", async () => {
    const { body } = await rollout.server.call<{ runtimes: { instance: string }[] }>("GET", "/v1/runtimes");
    return body.runtimes.every(({ instance }) => instance !== silent?.instance);
  });
  await cut?.report({ candidate: 2 });
  cut?.raw.cut();
  // Not before the silent one was given up, or its runs would be missing, too.
  clock.passSeconds(62);
  await judgedBad(rollout, 2);
  expect(await traffic(rollout)).toMatchObject({ assigned: 12, missing: 2 });
  expect(await rollout.standing()).toMatchObject({ state: "exposing", verdict: "allow", evidence: [{ n: 12, k: 2 }] });
});

test("failures that are reported by HTTP alone are judged once their tick has timed out, and stop", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const reports = ["h1", "h2", "h3"].map((runId) => ({ runId, status: "failure" }) as const);
  expect((await rollout.reportByHttp(reports)).body).toMatchObject({ accepted: 3, duplicates: 0 });
  expect((await rollout.reportByHttp(reports)).body).toMatchObject({ accepted: 0, duplicates: 3 });
  expect(await rollout.rolledBack()).toMatchObject({ reason: "sla_breach", evidence: [{ n: 3, k: 3 }] });
});

test("a report that comes after the timeout is refused and changes no evidence", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  const first = await runtime.report({ candidate: 2 });
  await judgedBad(rollout, 2);
  const late = await runtime.settle(first, successes(2));
  const { rejected } = await runtime.raw.next("outcomesAck", (ack) => ack.through === late);
  expect(rejected).toMatchObject([{ code: "no_assignment" }, { code: "no_assignment" }]);
  // A later batch is judged after it, so whatever it did would show.
  await runtime.report({ candidate: successes(1) });
  expect(await rollout.judged(3)).toMatchObject({ evidence: [{ n: 3, k: 2 }] });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a report by HTTP for a tick that is frozen is counted and not judged", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 2 });
  await judgedBad(rollout, 2);
  const startedAt = new Date(Date.now() - 60_000).toISOString();
  const late = ["h1", "h2", "h3"].map((runId) => ({ runId, status: "failure", startedAt }) as const);
  expect((await rollout.reportByHttp(late)).body).toMatchObject({ accepted: 3, duplicates: 0 });
  await runtime.report({ candidate: successes(1) });
  expect(await rollout.judged(3)).toMatchObject({ evidence: [{ n: 3, k: 2 }] });
  expect(await traffic(rollout)).toMatchObject({ assigned: 6, settled: 4 });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("failures that are reported before the timeout are judged at once, not when their tick freezes", async () => {
  const rollout = await exposing({ outcomeTimeout: "60s" });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 2 });
  await runtime.report({ candidate: failures(3) });
  // Five assigned, two of them pending, which count as good: 3 of 5 are not enough, 4 of 5 are (BRAIN 2.2's table).
  expect(await rollout.judged(5)).toMatchObject({ verdict: "allow", evidence: [{ n: 5, k: 3 }] });
  await runtime.settle(1, failures(1));
  expect(await rollout.rolledBack()).toMatchObject({ evidence: [{ n: 5, k: 4 }] });
});

async function traffic(rollout: RolloutServer, version = CANDIDATE) {
  const found = (await rollout.standing()).traffic.find((each) => each.version === version);
  return found ?? { version, assigned: 0, settled: 0, missing: 0 };
}

function judgedBad(rollout: RolloutServer, k: number) {
  return eventually(`${k} missing runs are judged`, async () => {
    const standing = await rollout.standing();
    return standing.evidence[0]?.k === k && standing;
  });
}
