/** Triggers end to end: who may fire one, what it does, and that it does it once. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { alertReceiver } from "../support/alert-receiver.ts";
import { ALIAS, CANDIDATE, exposing, STABLE } from "../support/rollout.ts";
import { eventually, testServer } from "../support/server.ts";
import {
  ALERT,
  auditOf,
  bearer,
  type Credentials,
  ENGAGE,
  entriesOf,
  FIRING,
  fire,
  ROLLBACK,
  setTrigger,
  signed,
  tokenFor,
} from "../support/triggers.ts";

describe("a signal", () => {
  test("rolls back in the trigger's name, once: repeats say so under the same decision, and one alert goes out", async () => {
    const receiver = await alertReceiver();
    const { server, ...rollout } = await exposing().then((each) => ({
      server: each.server,
      incidents: () => each.incidents(),
      allocation: () => each.allocation(),
    }));
    await server.call("POST", "/v1/webhooks", { url: receiver.url });
    const credentials = await setTrigger(server, "sla", ROLLBACK);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => fire(server, "sla", bearer(credentials), ALERT)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(answers.map(({ change }) => change?.status).sort()).toEqual([
      ...Array.from({ length: 9 }, () => "already_rolled_back"),
      "done",
    ]);
    expect(new Set(answers.map(({ change }) => change?.decisionId)).size).toBe(1);
    expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
    expect(await rollout.incidents()).toMatchObject([{ reason: "sla_breach", candidate: CANDIDATE }]);
    const [row, ...others] = await auditOf(server, "rollback");
    expect(others).toEqual([]);
    expect(row).toMatchObject({
      actor: { kind: "trigger", name: "trigger:sla", id: "sla" },
      decision: "stop",
      reason: "sla_breach: trigger:sla: ErrorRateHigh",
      fromVersion: CANDIDATE,
      toVersion: STABLE,
    });
    const repeats = await auditOf(server, "trigger.signal");
    expect(repeats).toHaveLength(9);
    expect(new Set(repeats.map(({ decisionId }) => decisionId))).toEqual(new Set([row?.decisionId]));
    await server.call("POST", "/v1/stop", { reason: "the last one" });
    await eventually("the last alert", () => receiver.received.some(({ body }) => body.includes("the last one")));
    const texts = receiver.received.map(({ body }) => (JSON.parse(body) as { text: string }).text);
    expect(texts.filter((text) => text.startsWith("Rollback triggered"))).toEqual([
      "Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=sla_breach, stage=half",
    ]);
  });

  test("engages a switch as the trigger's own entry, once, and what is resolved releases nothing", async () => {
    const server = await testServer();
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    expect(await fire(server, "checkout", bearer(credentials))).toMatchObject({
      status: 200,
      change: { status: "done" },
    });
    expect(await fire(server, "checkout", bearer(credentials))).toMatchObject({ change: { status: "unchanged" } });
    const resolved = await fire(server, "checkout", bearer(credentials), JSON.stringify({ state: "resolved" }));
    expect(resolved).toMatchObject({ status: 200, change: { status: "unchanged" } });
    expect(await entriesOf(server)).toMatchObject([
      { owner: "trigger:checkout", scope: "agent=support-agent", reason: "trigger:checkout: checkout fails" },
    ]);
    expect(await auditOf(server, "trigger.signal")).toMatchObject([
      { actor: { name: "trigger:checkout" }, target: "trigger:checkout", summary: expect.stringContaining("already") },
      { summary: expect.stringContaining("all is well") },
    ]);
    const metrics = (await server.call<string>("GET", "/metrics")).body;
    for (const result of ["acted", "unchanged", "ignored"]) {
      expect(metrics).toContain(`flagback_signals_total{trigger="checkout",result="${result}"} 1`);
    }
  });

  test("pauses a rollout", async () => {
    const rollout = await exposing();
    const credentials = await setTrigger(rollout.server, "slow", { action: { kind: "pause", alias: ALIAS } });
    expect(await fire(rollout.server, "slow", bearer(credentials))).toMatchObject({ change: { status: "done" } });
    expect(await rollout.standing()).toMatchObject({ state: "paused" });
  });

  test("that can't be carried out says where the rollout stands, and changes nothing", async () => {
    const rollout = await exposing();
    const credentials = await setTrigger(rollout.server, "slow", { action: { kind: "pause", alias: ALIAS } });
    await rollout.act("rollback");
    expect(await fire(rollout.server, "slow", bearer(credentials))).toMatchObject({
      status: 409,
      code: "rollout_not_active",
    });
    expect(await auditOf(rollout.server, "trigger.refused")).toHaveLength(1);
  });

  test("with other labels does nothing", async () => {
    const server = await testServer();
    const credentials = await setTrigger(server, "prod", { ...ENGAGE, labels: { env: "prod" } });
    const answer = await fire(server, "prod", bearer(credentials), JSON.stringify({ labels: { env: "staging" } }));
    expect(answer).toMatchObject({
      status: 200,
      change: { status: "unchanged", summary: expect.stringContaining("env=prod") },
    });
    expect(await entriesOf(server)).toEqual([]);
  });
});

describe("a signed signal", () => {
  test("needs no token, and is carried out once however often it is sent, also after a restart and a release", async () => {
    const server = await testServer();
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    const headers = signed(credentials, "msg_1");
    const first = await fire(server, "checkout", headers);
    expect(first).toMatchObject({ status: 200, change: { status: "done" } });
    await server.call("POST", "/v1/kill-switches/writes_disabled/release", {
      scope: "agent=support-agent",
      reason: "well",
    });
    expect(await fire(server, "checkout", headers)).toMatchObject({ status: 200, change: first.change });
    expect(await entriesOf(server)).toEqual([]);
    const restarted = await server.restart();
    expect(await fire(restarted, "checkout", headers)).toMatchObject({ status: 200 });
    expect(await entriesOf(restarted)).toEqual([]);
    expect(await fire(restarted, "checkout", signed(credentials, "msg_2"))).toMatchObject({
      change: { status: "done" },
    });
    expect(await entriesOf(restarted)).toHaveLength(1);
  });

  test("is refused where a byte of it differs, where it is old or from the future, and with another trigger's secret", async () => {
    let nowMs = Date.now();
    let monotonicMs = 0;
    // It stands still: what is too early by a second stays so, however slow the machine is.
    const clock = { nowMs: () => nowMs, monotonicMs: () => monotonicMs };
    const server = await testServer({ clock });
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    const other = await setTrigger(server, "other", ENGAGE);
    const good = signed(credentials, "msg_1", FIRING, nowMs);
    const cases: readonly (readonly [Record<string, string>, string?])[] = [
      [good, `${FIRING} `],
      [{ ...good, "webhook-id": "msg_2" }],
      [{ ...good, "webhook-timestamp": String(Number(good["webhook-timestamp"]) + 1) }],
      [{ ...good, "webhook-timestamp": "soon" }],
      [{ "webhook-signature": good["webhook-signature"] ?? "" }],
      [{ ...good, "webhook-signature": "v1,AAAA" }],
      [{ ...good, "webhook-signature": "" }],
      [{ ...good, "webhook-id": "x".repeat(101) }],
      [signed(credentials, "msg_1", FIRING, nowMs - 301_000)],
      [signed(credentials, "msg_1", FIRING, nowMs + 302_000)],
      [signed(other, "msg_1", FIRING, nowMs)],
    ];
    for (const [headers, body] of cases) {
      expect(await fire(server, "checkout", headers, body)).toMatchObject({ status: 401, code: "unauthorized" });
    }
    expect(await entriesOf(server)).toEqual([]);
    // However many are refused, a minute has one row, and who sends rightly is answered.
    expect(await auditOf(server, "trigger.refused")).toMatchObject([
      { actor: { kind: "system" }, target: "trigger:checkout" },
    ]);
    expect(await fire(server, "checkout", good)).toMatchObject({ status: 200 });
    nowMs += 61_000;
    monotonicMs += 61_000;
    await fire(server, "checkout", {});
    expect(await auditOf(server, "trigger.refused")).toHaveLength(2);
  });

  test("is known by either of two tokens while one takes the other's place, and by none that is revoked", async () => {
    const server = await testServer();
    const before = await setTrigger(server, "checkout", ENGAGE);
    const after = await tokenFor(server, "checkout");
    expect(await fire(server, "checkout", signed(before, "1"))).toMatchObject({ status: 200 });
    expect(await fire(server, "checkout", signed(after, "2"))).toMatchObject({ status: 200 });
    await server.call("DELETE", `/v1/tokens/${before.id}`);
    expect(await fire(server, "checkout", signed(before, "3"))).toMatchObject({ status: 401 });
    expect(await fire(server, "checkout", bearer(before))).toMatchObject({ status: 401 });
    expect(await fire(server, "checkout", signed(after, "4"))).toMatchObject({ status: 200 });
  });
});

test.each([
  ["no JSON", "{", "is no JSON"],
  ["not UTF-8", Buffer.from([0xff]), "is not UTF-8"],
  ["empty", "", "is no JSON"],
  ["of another shape", "[]", "format plain"],
])("a body that is %s is refused for who may send it, and is not looked at for others", async (_what, body, says) => {
  const server = await testServer();
  const credentials = await setTrigger(server, "checkout", ENGAGE);
  expect(await fire(server, "checkout", bearer(credentials), body)).toMatchObject({
    status: 400,
    code: "signal_invalid",
    detail: expect.stringContaining(says),
  });
  expect(await fire(server, "checkout", {}, body)).toMatchObject({ status: 401 });
});

test("whatever bytes come, a server answers them, acts on none that is no signal, and fails on none", async () => {
  const server = await testServer();
  const triggers: Credentials[] = [];
  const formats = ["plain", "alertmanager", "datadog"];
  for (const format of formats)
    triggers.push(await setTrigger(server, format, { ...ENGAGE, format, labels: { env: "prod" } }));
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text)),
    fc.nat(3_000).map((depth) => Buffer.from("[".repeat(depth))),
    fc.nat(3_000).map((depth) => Buffer.from(`${'{"labels":'.repeat(depth)}1${"}".repeat(depth)}`)),
    fc
      .constantFrom('{"labels":{"__proto__":{"env":"prod"}}}', '{"labels":{"env":["prod"]}}')
      .map((text) => Buffer.from(text)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.nat(2),
      bytes,
      fc.constantFrom("application/json", "text/plain", "x/y"),
      async (which, body, type) => {
        const headers = { ...bearer(triggers[which] as Credentials), "content-type": type };
        const { status, code } = await fire(server, formats[which] ?? "", headers, body);
        expect([200, 400]).toContain(status);
        if (status === 400) expect(code).toBe("signal_invalid");
      },
    ),
    { numRuns: 60 },
  );
  expect(await entriesOf(server)).toEqual([]);
});

test("a body over the limit is refused", async () => {
  const server = await testServer();
  const credentials = await setTrigger(server, "checkout", ENGAGE);
  const body = JSON.stringify({ reason: "x".repeat(256 * 1024) });
  expect(await fire(server, "checkout", bearer(credentials), body)).toMatchObject({
    status: 413,
    code: "payload_too_large",
  });
});

describe("a trigger", () => {
  test("is a document of the configuration: applied by an admin, shown in the plan, and not by a lead", async () => {
    const server = await testServer();
    const lead = { token: await server.token("lead") };
    const file = `
aliases:
  support-agent: {}
triggers:
  sla:
    format: alertmanager
    action: {kind: rollback, alias: support-agent, reason: sla_breach}
    labels: {severity: critical}
`;
    expect(await server.call("POST", "/v1/apply", file, lead)).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    const plan = await server.call<{ plan: { action: string; target: string }[] }>(
      "POST",
      "/v1/apply?dryRun=true",
      file,
    );
    expect(plan.body.plan.map(({ action, target }) => [action, target])).toContainEqual(["create", "trigger:sla"]);
    expect((await server.call("POST", "/v1/apply", file)).status).toBe(200);
    const found = await server.call("GET", "/v1/triggers/sla");
    expect(found.body).toMatchObject({ id: "sla", format: "alertmanager", labels: { severity: "critical" } });
    // What changes nothing a lead may apply too.
    expect(await server.call("POST", "/v1/apply", file, lead)).toMatchObject({ status: 200, body: { applied: false } });
    const restarted = await server.restart();
    expect((await restarted.call("GET", "/v1/triggers/sla")).body).toEqual(found.body);
  });

  test("is changed under the edit that was read, and begins with a new one when it is made anew", async () => {
    const server = await testServer();
    await setTrigger(server, "checkout", ENGAGE);
    const read = () => server.call<{ edit: number }>("GET", "/v1/triggers/checkout");
    const first = await read();
    const ifMatch = { headers: { "if-match": first.headers.get("etag") ?? "" } };
    const changed = { ...ENGAGE, labels: { env: "prod" } };
    expect((await server.call("PUT", "/v1/triggers/checkout", changed, ifMatch)).status).toBe(200);
    expect(await server.call("PUT", "/v1/triggers/checkout", ENGAGE, ifMatch)).toMatchObject({
      status: 409,
      body: { code: "revision_conflict" },
    });
    expect((await server.call("PUT", "/v1/triggers/checkout", changed)).body).toMatchObject({
      change: { status: "unchanged" },
    });
    await server.call("DELETE", "/v1/triggers/checkout");
    expect((await server.call("DELETE", "/v1/triggers/checkout")).status).toBe(404);
    expect((await read()).status).toBe(404);
  });

  test.each([
    ["an alias that is not there", { action: { kind: "rollback", alias: "nobody" } }, "alias_not_found"],
    ["a switch that is not there", { action: { kind: "engage", key: "nobody" } }, "kill_switch_not_found"],
    ["a reason that is a person's", { action: { kind: "rollback", alias: "a", reason: "manual" } }, "bad_request"],
    ["two things", { action: { kind: "pause", alias: "a", key: "k" } }, "unknown_key"],
    ["nothing", {}, "bad_request"],
  ])("for %s is refused", async (_what, definition, code) => {
    const server = await testServer();
    expect((await server.call("PUT", "/v1/triggers/t", definition)).body).toMatchObject({ code });
  });
});
