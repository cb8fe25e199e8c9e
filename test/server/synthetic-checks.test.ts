/** Synthetic checks end to end: counted for themselves, in no statistic, and acted on where the policy says so. */
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { ALIAS, CANDIDATE, exposing, type RolloutServer, STABLE, successes } from "../support/rollout.ts";

interface Checked {
  readonly version: string;
  readonly checks: number;
  readonly failures: number;
  readonly failuresInARow: number;
}

let runs = 0;
const check = (rollout: RolloutServer, status: string, version = CANDIDATE, runId = `check-${++runs}`) =>
  rollout.reportByHttp([{ source: "synthetic", runId, status, version } as object]);
const checked = async (rollout: RolloutServer) =>
  ((await rollout.standing()) as unknown as { synthetic: readonly Checked[] }).synthetic;

test("checks are in no number of real runs, prove no health, and stop nothing without a rule", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: successes(20), stable: successes(20) });
  const before = await rollout.judged(20);
  for (let n = 0; n < 30; n++) expect((await check(rollout, "failure")).body).toMatchObject({ accepted: 1 });
  for (let n = 0; n < 100; n++) await check(rollout, "success", STABLE);
  await runtime.report({ candidate: successes(1) });
  const after = await rollout.judged(21);
  expect(after.evidence[0]).toMatchObject({ n: 21, k: 0 });
  const traffic = (standing: typeof before) =>
    standing.traffic.map(({ version, assigned, settled, missing }) => [version, assigned, settled, missing]);
  expect(traffic(after)).toEqual(
    traffic(before).map(([version, n]) => (version === CANDIDATE ? [version, 21, 21, 0] : [version, n, 20, 0])),
  );
  expect(after.state).toBe("exposing");
  expect(await rollout.audit("rollback")).toEqual([]);
  const metrics = (await rollout.server.call<string>("GET", "/metrics")).body;
  expect(metrics).toContain('flagback_synthetic_checks_total{result="failed"} 30');
  expect(metrics).toContain('flagback_synthetic_checks_total{result="passed"} 100');
  expect(metrics).not.toMatch(/flagback_outcomes_total\{[^}]*status="failure"\} [1-9]/);
  expect(await checked(rollout)).toMatchObject([
    { version: CANDIDATE, checks: 30, failures: 30, failuresInARow: 30 },
    { version: STABLE, checks: 100, failures: 0, failuresInARow: 0 },
  ]);
  const { url, adminToken } = rollout.server;
  const io = fakeIo({ env: { FLAGBACK_URL: url, FLAGBACK_TOKEN: adminToken } });
  await runCli(["rollout", "status", ALIAS], io);
  expect(io.written.stdout).toMatch(/SYNTHETIC CHECKS OF[\s\S]*support-agent@2\.4\.0\s+30\s+30\s+30\s+failure/);
});

test("as many failures in a row as the policy says roll back, once, and the incident says why", async () => {
  const rollout = await exposing({ onSyntheticFailure: { inARow: 3 } });
  for (const status of ["failure", "failure", "success", "failure", "timeout"]) await check(rollout, status);
  expect(await rollout.audit("rollback")).toEqual([]);
  await check(rollout, "failure");
  const [row] = await rollout.audit("rollback");
  expect(row).toMatchObject({
    actor: { kind: "brain" },
    decision: "stop",
    reason: "rollback_required: 3 synthetic checks in a row failed, the last with failure",
    fromVersion: CANDIDATE,
    toVersion: STABLE,
  });
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  await check(rollout, "failure");
  expect(await rollout.audit("rollback")).toHaveLength(1);
  const [incident] = await rollout.incidents();
  const { body } = await rollout.server.call<string>("GET", `/v1/incidents/${incident?.id}/report.md`);
  expect(body).toContain("brain rolled it back on a signal");
  expect(body).toContain("3 synthetic checks in a row failed");
  expect((await rollout.replay(row?.decisionId ?? "")).status).toBe(200);
});

test("while the last check of stable failed too, nothing is rolled back, and it is when stable is well again", async () => {
  const rollout = await exposing({ onSyntheticFailure: { inARow: 2 } });
  await check(rollout, "failure", STABLE);
  for (let n = 0; n < 4; n++) await check(rollout, "failure");
  expect(await rollout.audit("rollback")).toEqual([]);
  await check(rollout, "success", STABLE);
  expect(await rollout.audit("rollback")).toHaveLength(1);
});

test("the counts survive a restart, one report counts once, and what can't be counted is refused by its index", async () => {
  const rollout = await exposing({ onSyntheticFailure: { inARow: 2 } });
  await check(rollout, "failure", CANDIDATE, "once");
  expect((await check(rollout, "failure", CANDIDATE, "once")).body).toMatchObject({ accepted: 0, duplicates: 1 });
  // A run of the same name is another one.
  expect((await rollout.reportByHttp([{ runId: "once" }])).body).toMatchObject({ accepted: 1 });
  const mixed = await rollout.reportByHttp([
    { source: "synthetic", runId: "a", version: "nobody@1" } as object,
    { source: "elsewhere", runId: "b" } as object,
    { source: "synthetic", runId: "c", status: "cancelled" } as object,
  ]);
  expect(mixed.body).toMatchObject({
    accepted: 1,
    rejected: [
      { index: 0, code: "version_not_found" },
      { index: 1, code: "outcome_invalid" },
    ],
  });
  const restarted = await rollout.restart();
  expect(await checked(restarted)).toMatchObject([{ version: CANDIDATE, checks: 1, failures: 1 }]);
  // Sent again because its answer was lost.
  expect((await check(restarted, "failure", CANDIDATE, "once")).body).toMatchObject({ accepted: 0, duplicates: 1 });
  expect(await restarted.audit("rollback")).toHaveLength(0);
  await check(restarted, "failure");
  expect(await restarted.audit("rollback")).toHaveLength(1);
});

test("a stream that reports something with a source is refused that item, so that it passes for no run", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: [{ source: "synthetic", status: "failure" } as object, { status: "success" }] });
  // Its run has ended and says nothing, neither for its version nor against it.
  expect((await rollout.judged(1)).evidence[0]).toMatchObject({ n: 1, k: 0 });
  const { body } = await rollout.server.call<string>("GET", "/metrics");
  expect(body).toContain('flagback_outcome_reports_total{result="rejected"} 1');
  expect(body).toContain('flagback_outcome_reports_total{result="accepted"} 1');
});
