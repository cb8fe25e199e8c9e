/** The metrics say what happened to a real server, and the documentation says what each metric is. */
import { createServer } from "node:http";
import { HoldCause, OutcomeStatus, RolloutState } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { DROP_REASONS } from "../../server/src/limits.ts";
import { WRITES } from "../../server/src/store/failpoints.ts";
import { createMetrics, ROLLBACK_PHASES } from "../../server/src/telemetry/metrics.ts";
import { type Exposition, parseExposition } from "../support/prometheus.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { ALIAS, CANDIDATE, exposing, failures, STABLE, successes } from "../support/rollout.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";
import { documentedMetrics } from "./metric-tables.ts";

const documented = documentedMetrics();

test("each metric of the server has its row, with its type and labels, and no row is left over", () => {
  const registered = createMetrics().registry.getMetricsAsArray() as unknown as Registered[];
  const described = ({ name, type, labelNames }: Registered) => `${name} ${type} ${[...labelNames].sort()}`;
  expect(documented.map(({ name, type, labels }) => `${name} ${type} ${[...labels.keys()].sort()}`).sort()).toEqual(
    registered.map(described).sort(),
  );
});

test("the values listed for a label are all that the code knows", () => {
  const listed = (name: string, label: string) => documented.find((each) => each.name === name)?.labels.get(label);
  expect(listed("flagback_outcomes_total", "status")).toEqual(OutcomeStatus.options);
  expect(listed("flagback_rollout_state", "state")).toEqual(RolloutState.options);
  expect(listed("flagback_rollout_held", "cause")).toEqual(HoldCause.options);
  expect(listed("flagback_rollback_seconds", "phase")).toEqual(ROLLBACK_PHASES);
  expect(listed("flagback_dropped_total", "reason")).toEqual(DROP_REASONS);
  expect([...(listed("flagback_store_write_seconds", "write") ?? [])].sort()).toEqual([...WRITES].sort());
});

test("a rollback by the brain moves what belongs to it, phase by phase, and nothing has a label that is not documented", async () => {
  const setup = await exposing();
  const { server } = setup;
  const before = await metricsOf(server);
  expect(before.value("flagback_rollbacks_total", { alias: ALIAS, by: "brain" })).toBe(0);
  expect(before.samples.filter(({ name }) => name === "flagback_rollbacks_total")).toHaveLength(3);
  expect(before.value("flagback_candidate_weight", { alias: ALIAS, version: CANDIDATE })).toBe(0.5);
  expect(before.value("flagback_rollout_state", { alias: ALIAS, state: "exposing" })).toBe(1);

  const [reporter, witness] = await setup.runtimes(2);
  witness?.raw.send({ type: "lease", id: 1 });
  await witness?.raw.next("lease");
  // data/brain-golden.json: two failures of two are 3.95 of 4.61, and the third stops.
  await reporter?.report({ candidate: failures(2), stable: successes(4) });
  await setup.judged(2);
  const rising = await metricsOf(server);
  expect(rising.value("flagback_evidence_log_e", { guardrail: "error_rate" })).toBeCloseTo(3.954, 3);
  expect(rising.value("flagback_evidence_ratio", { alias: ALIAS, version: CANDIDATE })).toBeCloseTo(0.8587, 3);
  expect(rising.value("flagback_runtimes", { state: "streaming" })).toBe(1);
  expect(rising.value("flagback_runtimes", { state: "without_lease" })).toBe(1);
  expect(rising.value("flagback_leases_total", { event: "granted" })).toBe(1);

  await reporter?.report({ candidate: [{ status: "timeout" }] });
  const { revision = 0 } = await setup.rolledBack();
  const spreading = await metricsOf(server);
  expect(spreading.value("flagback_propagation_waiting")).toBe(2);
  expect(spreading.value("flagback_propagation_lag_seconds")).toBeGreaterThan(0);
  for (const { raw } of [reporter, witness].filter((each) => each !== undefined)) {
    await raw.next("delta", (delta) => delta.revision >= revision);
    raw.send({ type: "applied", revision, appliedAfterMs: 1 });
  }
  const after = await eventually("both have acknowledged it", async () => {
    const metrics = await metricsOf(server);
    return metrics.value("flagback_rollback_seconds_count", { phase: "converge" }) === 1 && metrics;
  });
  for (const phase of ["detect", "decide", "commit", "converge"]) {
    expect([phase, after.value("flagback_rollback_seconds_count", { phase })]).toEqual([phase, 1]);
  }
  expect(after.value("flagback_rollback_seconds_count", { phase: "recover" })).toBe(0);
  expect(after.value("flagback_rollbacks_total", { alias: ALIAS, by: "brain" })).toBe(1);
  expect(after.value("flagback_rollbacks_total", { alias: ALIAS, by: "person" })).toBe(0);
  expect(after.value("flagback_rollout_state")).toBe(1);
  // It becomes `recovering` when the server next looks, because both have acknowledged it.
  const states = ["rolled_back", "recovering"].map((state) => after.value("flagback_rollout_state", { state }));
  expect(states.reduce((sum, value) => sum + value, 0)).toBe(1);
  expect(after.value("flagback_candidate_weight", { version: CANDIDATE })).toBe(0);
  expect(after.value("flagback_kill_switch_engaged", { key: "writes_disabled", scope: `agent=${ALIAS}` })).toBe(1);
  expect(after.value("flagback_propagation_lag_seconds")).toBe(0);
  expect(after.value("flagback_propagation_seconds_count")).toBeGreaterThanOrEqual(2);
  expect(after.value("flagback_revision")).toBe(revision);
  const outcomes = (version: string, status: string) =>
    after.value("flagback_outcomes_total", { alias: ALIAS, version, status });
  expect([outcomes(CANDIDATE, "failure"), outcomes(CANDIDATE, "timeout"), outcomes(STABLE, "success")]).toEqual([
    2, 1, 4,
  ]);
  expect(after.value("flagback_outcomes_total")).toBe(7);
  expect(after.value("flagback_outcome_reports_total", { result: "accepted" })).toBe(7);
  expect(after.value("flagback_ingest_wait_seconds_count")).toBeGreaterThanOrEqual(2);
  expect(after.value("flagback_unwritten_outcomes")).toBe(0);
  expect(after.value("flagback_changes_total", { action: "rollback", by: "brain" })).toBe(1);

  await server.call("POST", "/v1/kill-switches/writes_disabled/release", { scope: `agent=${ALIAS}`, reason: "mended" });
  const released = await metricsOf(server);
  expect(released.value("flagback_rollback_seconds_count", { phase: "recover" })).toBe(1);
  expect(released.value("flagback_kill_switch_engaged")).toBe(0);
  expect(undocumentedSeries(released)).toEqual([]);
});

test("a rollback by a person has no detection and no decision", async () => {
  const setup = await exposing();
  expect((await setup.act("rollback")).status).toBe(200);
  const metrics = await metricsOf(setup.server);
  const phases = ["detect", "decide", "commit", "converge"].map((phase) =>
    metrics.value("flagback_rollback_seconds_count", { phase }),
  );
  // Nobody was connected either.
  expect(phases).toEqual([0, 0, 1, 0]);
  expect(metrics.value("flagback_rollbacks_total", { alias: ALIAS, by: "person" })).toBe(1);
});

test("what its incident engaged is followed across a restart, for the time that it lasted", async () => {
  const before = await exposing();
  await before.act("rollback");
  const after = await before.restart();
  await after.server.call("POST", "/v1/kill-switches/writes_disabled/release", {
    scope: `agent=${ALIAS}`,
    reason: "x",
  });
  const metrics = await metricsOf(after.server);
  expect(metrics.value("flagback_rollback_seconds_count", { phase: "recover" })).toBe(1);
  expect(metrics.value("flagback_rollback_seconds_sum", { phase: "recover" })).toBeGreaterThan(0);
});

test("outcomes that are reported again, or are of nobody, are told apart from those that count", async () => {
  const setup = await exposing();
  const report = [{ runId: "one" }, { runId: "two", status: "blocked" as const }, { runId: "three", alias: "nobody" }];
  await setup.reportByHttp(report);
  await setup.reportByHttp(report);
  const metrics = await metricsOf(setup.server);
  const results = ["accepted", "duplicate", "rejected"].map((result) =>
    metrics.value("flagback_outcome_reports_total", { result }),
  );
  expect(results).toEqual([2, 2, 2]);
  expect(metrics.value("flagback_outcomes_total", { version: CANDIDATE, status: "blocked" })).toBe(1);
  expect(metrics.value("flagback_outcomes_total")).toBe(2);
});

test("a retired version has no label any more, and its outcomes stay in the sum", async () => {
  const setup = await exposing({ retention: "1s" });
  await setup.reportByHttp([{ runId: "one" }, { runId: "two", version: STABLE }]);
  await setup.act("rollback");
  await setup.server.call("POST", `/v1/versions/${encodeURIComponent(CANDIDATE)}/retire`, { reason: "done with it" });
  const metrics = await metricsOf(setup.server);
  expect(metrics.value("flagback_outcomes_total", { version: CANDIDATE })).toBe(0);
  expect(metrics.value("flagback_outcomes_total", { version: "(other)" })).toBe(1);
  expect(metrics.value("flagback_outcomes_total", { alias: ALIAS })).toBe(2);
});

test("a runtime that vanishes holds its lease for a while, and is counted when it has lapsed", async () => {
  const server = await testServer({ leaseMs: 200 });
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  runtime.send({ type: "lease", id: 1 });
  await runtime.next("lease");
  runtime.cut();
  await eventually("it has lapsed", async () => {
    const metrics = await metricsOf(server);
    return (
      metrics.value("flagback_leases_total", { event: "lapsed" }) === 1 && metrics.value("flagback_runtimes") === 0
    );
  });
});

test("requests are counted by route and not by path, and alerts by how they ended", async () => {
  const server = await testServer();
  await server.call("POST", "/v1/webhooks", { url: await takesAlerts() });
  await server.call("GET", "/v1/aliases/one");
  await server.call("GET", "/v1/aliases/two");
  await server.call("GET", "/made/up/1");
  await server.call("POST", "/v1/stop", { reason: "x" });
  const metrics = await eventually("the alert is delivered", async () => {
    const found = await metricsOf(server);
    const isDelivered = found.value("flagback_alerts_total", { result: "delivered" }) === 1;
    return isDelivered && found.value("flagback_outbox_depth") === 0 && found;
  });
  const requests = (labels: Record<string, string>) => metrics.value("flagback_http_request_seconds_count", labels);
  expect(requests({ route: "/v1/aliases/:name", status: "404" })).toBe(2);
  expect(requests({ route: "none", method: "none", status: "404" })).toBe(1);
  expect(requests({ route: "/v1/stop", method: "POST", status: "200" })).toBe(1);
  expect(metrics.value("flagback_disk_free_bytes")).toBeGreaterThan(0);
  expect(metrics.value("flagback_nodejs_eventloop_lag_p99_seconds")).toBeGreaterThan(0);
});

interface Registered {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

async function metricsOf(server: TestServer): Promise<Exposition> {
  return parseExposition((await server.call<string>("GET", "/metrics")).body);
}

/** Series whose labels or labels' values the tables don't have. */
function undocumentedSeries({ samples }: Exposition): string[] {
  return samples.flatMap(({ name, labels }) => {
    const metric = documented.find((each) => [each.name, ...PARTS.map((part) => each.name + part)].includes(name));
    const { le: _bound, ...own } = labels;
    return Object.entries(own)
      .filter(([label, value]) => {
        const values = metric?.labels.get(label);
        return values === undefined || (values.length > 0 && !values.includes(value));
      })
      .map(([label, value]) => `${name}{${label}="${value}"}`);
  });
}

const PARTS = ["_bucket", "_sum", "_count"];

async function takesAlerts(): Promise<string> {
  const receiver = createServer((_request, response) => response.end());
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  return `http://127.0.0.1:${(receiver.address() as { port: number }).port}/hook`;
}
