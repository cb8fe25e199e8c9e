/** Webhooks as their owners meet them: real deliveries of a real server to a real receiver. */
import { createHmac } from "node:crypto";
import { EventEmitter, once } from "node:events";
import type { AuditEvent } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { alertReceiver, type Received } from "../support/alert-receiver.ts";
import { captureLog } from "../support/captured-log.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, exposing } from "../support/rollout.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";

const ROUTING_KEY = "0123456789abcdef0123456789abcdef";

interface Made {
  readonly webhook: { readonly id: string; readonly url: string; readonly format: string };
  readonly secret?: string;
}

const make = async (server: TestServer, body: object) => (await server.call<Made>("POST", "/v1/webhooks", body)).body;
const stop = (server: TestServer, reason: string) => server.call("POST", "/v1/stop", { reason });
const release = (server: TestServer) =>
  server.call("POST", "/v1/kill-switches/writes_disabled/release", { reason: "a test" });

/** Checks a delivery as its receiver would, by the specification and without its package. */
function isSignedWith(secret: string, { headers, body }: Received): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const content = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const expected = `v1,${createHmac("sha256", key).update(content).digest("base64")}`;
  return String(headers["webhook-signature"]).split(" ").includes(expected);
}

test("an alert is signed with the secret that was shown once, anew at each attempt, under one id", async () => {
  const receiver = await alertReceiver();
  const server = await testServer();
  const { secret = "", webhook } = await make(server, { url: receiver.url, name: "on-call" });
  expect(webhook).toMatchObject({ id: "on-call", format: "standard" });
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{32}$/);
  receiver.answer = () => (receiver.received.length === 0 ? 500 : 204);
  await stop(server, "fire");
  await eventually("the second attempt", () => receiver.received.length === 2);
  expect(receiver.received.map((each) => isSignedWith(secret, each))).toEqual([true, true]);
  expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1);
  expect(JSON.parse(receiver.received[0]?.body ?? "")).toMatchObject({ kind: "stop", timestamp: expect.any(String) });
});

test("a webhook whose secret is rotated signs with both for a day, and then with the new one only", async () => {
  const clock = new MovedClock();
  const receiver = await alertReceiver();
  const server = await testServer({ clock });
  const { secret: before = "" } = await make(server, { url: receiver.url, name: "on-call" });
  const { body } = await server.call<Made>("POST", "/v1/webhooks/on-call/rotate");
  const after = body.secret ?? "";
  const next = async (reason: string) => {
    const count = receiver.received.length;
    await stop(server, reason);
    await release(server);
    return eventually("the alert", () => receiver.received[count]);
  };
  const first = await next("the same day");
  expect([isSignedWith(before, first), isSignedWith(after, first)]).toEqual([true, true]);
  clock.passSeconds(86_401);
  const second = await next("the next day");
  expect([isSignedWith(before, second), isSignedWith(after, second)]).toEqual([false, true]);
  const restarted = await server.restart();
  await stop(restarted, "after a restart");
  const third = await eventually("the alert", () => receiver.received[2]);
  expect(isSignedWith(after, third)).toBe(true);
});

test("Slack and PagerDuty are told in their own words, and one after the other of one incident", async () => {
  const [slack, pager] = [await alertReceiver(), await alertReceiver()];
  const rollout = await exposing();
  await make(rollout.server, { url: slack.url, format: "slack" });
  await make(rollout.server, { url: pager.url, format: "pagerduty", routingKey: ROUTING_KEY });
  await rollout.act("rollback", { reason: "bad" });
  const [incident] = await rollout.incidents();
  const id = incident?.id ?? "";
  await rollout.server.call("POST", `/v1/incidents/${id}/notes`, { text: "looking" });
  await rollout.server.call("POST", `/v1/incidents/${id}/notes`, { text: "still looking" });
  await rollout.server.call("POST", `/v1/incidents/${id}/release`, { reason: "it is well" });
  await eventually("everything was told", () => slack.received.length === 3 && pager.received.length === 3);
  const texts = slack.received.map(({ body }) => (JSON.parse(body) as { text: string }).text);
  expect(texts).toEqual([
    "Rollback triggered support-agent@2.4.0 -&gt; 2.3.3, reason=manual, stage=half",
    `Acknowledged ${ALIAS}: first admin looks at ${id}.`,
    `Closed ${ALIAS}: first admin took ${id} on without a proof of recovery, reason=it is well`,
  ]);
  expect(pager.received.map(({ body }) => JSON.parse(body))).toMatchObject([
    { routing_key: ROUTING_KEY, event_action: "trigger", dedup_key: id, payload: { severity: "error" } },
    { routing_key: ROUTING_KEY, event_action: "acknowledge", dedup_key: id },
    { routing_key: ROUTING_KEY, event_action: "resolve", dedup_key: id },
  ]);
});

test("one fact is one alert, however often the signal repeats", async () => {
  const receiver = await alertReceiver();
  const rollout = await exposing();
  await make(rollout.server, { url: receiver.url });
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => rollout.act("rollback", { reason: `signal ${n}` })),
  );
  const statuses = answers.map(({ body }) => (body as { change: { status: string } }).change.status);
  expect(statuses.filter((status) => status === "done")).toHaveLength(1);
  expect(statuses.filter((status) => status === "already_rolled_back")).toHaveLength(19);
  // What comes after all of them has come: then nothing more is on the way.
  await stop(rollout.server, "the last one");
  await eventually("the last alert", () => receiver.received.some(({ body }) => body.includes("the last one")));
  const kinds = receiver.received.map(({ body }) => (JSON.parse(body) as { kind: string }).kind);
  expect(kinds.filter((kind) => kind === "rollback")).toHaveLength(1);
});

test("what was given up is listed with its reason and can be asked for again, from the command line too", async () => {
  const receiver = await alertReceiver();
  const server = await testServer();
  await make(server, { url: receiver.url, name: "on-call" });
  receiver.answer = () => 410;
  await stop(server, "nobody hears");
  // And it is known of: what was heard last stands beside it, however often it was tried by then.
  await eventually("it was tried", async () => {
    const { body } = await server.call("GET", "/v1/webhooks/on-call/deliveries");
    return JSON.stringify(body).includes("answered 410");
  });
  // What waits for a webhook that is removed is given up.
  await server.call("DELETE", "/v1/webhooks/on-call");
  await make(server, { url: receiver.url, name: "on-call" });
  expect((await server.call<string>("GET", "/metrics")).body).toContain("flagback_dead_letters 1");
  const cli = async (...args: string[]) => {
    const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
    return { status: await runCli(["webhook", ...args], io), ...io.written };
  };
  const listed = await cli("deliveries", "on-call", "--dead");
  expect(listed.stdout).toMatch(/flagback-1\s+\S+ \S+\s+dead\s+[1-9]\d*\s+Stop by .*nobody hears\s+the webhook/);
  expect(await cli("test", "on-call")).toMatchObject({
    status: 1,
    stdout: "on-call did not take it: the webhook answered 410.\n",
  });
  receiver.answer = () => 204;
  expect(await cli("test", "on-call")).toMatchObject({ status: 0, stdout: "on-call took it.\n" });
  expect((await cli("redeliver", "on-call", "flagback-7")).stderr).toContain("delivery_not_found");
  expect((await cli("redeliver", "on-call", "nonsense")).stderr).toContain("delivery_not_found");
  expect((await cli("redeliver", "on-call", "flagback-1")).stdout).toBe("1 alert is on the way again.\n");
  await eventually("it is delivered", () => receiver.received.at(-1)?.body.includes("nobody hears"));
  await eventually(
    "nothing is dead any more",
    async () => (await cli("deliveries", "on-call", "--dead")).stdout === "No alerts.\n",
  );
  expect((await cli("deliveries", "on-call")).stdout).toContain("delivered");
  const { body } = await server.call<{ events: { action: string }[] }>("GET", "/v1/audit");
  expect(body.events.at(-1)?.action).toBe("webhook.redeliver");
});

test("addresses, secrets and keys of webhooks are in no answer, audit row, metric or log line", async () => {
  const { log, lines } = captureLog("trace");
  const server = await testServer({ log });
  const receiver = await alertReceiver();
  receiver.answer = () => 500;
  const planted = { path: "s3cretpath", user: "s3cretuser" };
  const url = receiver.url
    .replace("http://", `http://u:${planted.user}@`)
    .replace("/hook", `/${planted.path}?k=s3cretquery`);
  const { secret = "" } = await make(server, { url, name: "signed" });
  await make(server, { url, name: "slack", format: "slack" });
  await make(server, { url, name: "pager", format: "pagerduty", routingKey: ROUTING_KEY });
  const rotated = (await server.call<Made>("POST", "/v1/webhooks/signed/rotate")).body.secret ?? "";
  const repeated = { headers: { "idempotency-key": "k" } };
  const first = await server.call<Made>("POST", "/v1/webhooks", { url, name: "once" }, repeated);
  const secrets = [secret, rotated, first.body.secret ?? "", ROUTING_KEY, planted.path, planted.user, "s3cretquery"];
  await stop(server, "x");
  await eventually("all were tried", () => receiver.received.length >= 4);
  const said: unknown[] = [(await server.call("POST", "/v1/webhooks", { url, name: "once" }, repeated)).body];
  for (const path of [
    "/v1/webhooks",
    "/v1/audit",
    "/metrics",
    "/v1/webhooks/signed/deliveries",
    "/v1/webhooks/pager/deliveries",
  ])
    said.push((await server.call("GET", path)).body);
  for (const id of ["signed", "slack", "pager"]) said.push((await server.call("POST", `/v1/webhooks/${id}/test`)).body);
  for (const bad of [
    { url: `${url}#`, name: "s l" },
    { format: "pagerduty", routingKey: `${ROUTING_KEY}x` },
    { url: `ftp://${planted.path}` },
  ])
    said.push((await server.call("POST", "/v1/webhooks", bad)).body);
  said.push(lines());
  const text = JSON.stringify(said);
  expect(text).toContain("was not delivered");
  expect(secrets.filter((each) => each.length < 8 || text.includes(each))).toEqual([]);
});

test.each([
  ["without an address", { format: "slack" }, "url: a webhook of format slack needs one"],
  ["for PagerDuty without its key", { format: "pagerduty" }, "routingKey: PagerDuty needs one"],
  [
    "with a key that nobody needs",
    { url: "https://example.com/", routingKey: ROUTING_KEY },
    "only PagerDuty takes one",
  ],
  ["of a format that nobody knows", { url: "https://example.com/", format: "teams" }, "format"],
])("a webhook %s is refused", async (_what, body, says) => {
  const server = await testServer();
  expect(await server.call("POST", "/v1/webhooks", body)).toMatchObject({
    status: 400,
    body: { code: "bad_request", detail: expect.stringContaining(says) },
  });
});

test("a test of a webhook is written down, and another of it waits until it is over", async () => {
  const receiver = await alertReceiver();
  const server = await testServer();
  await make(server, { url: receiver.url, name: "on-call" });
  const on = new EventEmitter();
  receiver.answer = async () => {
    on.emit("asked");
    return (await once(on, "answer"))[0];
  };
  const asked = once(on, "asked");
  const first = server.call("POST", "/v1/webhooks/on-call/test");
  await asked;
  expect(await server.call("POST", "/v1/webhooks/on-call/test")).toMatchObject({
    status: 503,
    body: { code: "overloaded" },
  });
  on.emit("answer", 204);
  expect(await first).toMatchObject({ status: 200, body: { delivered: true } });
  receiver.answer = () => 204;
  expect((await server.call("POST", "/v1/webhooks/on-call/test")).body).toMatchObject({ delivered: true });
  const { body } = await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit?target=webhook:on-call");
  expect(body.events.filter(({ action }) => action === "webhook.test")).toHaveLength(2);
});

test("a name is one webhook's, PagerDuty's address is known, and only what is signed has a secret to rotate", async () => {
  const server = await testServer();
  await make(server, { url: "https://example.com/a", name: "one" });
  expect(await server.call("POST", "/v1/webhooks", { url: "https://example.com/b", name: "one" })).toMatchObject({
    status: 409,
    body: { code: "already_exists" },
  });
  const pager = await make(server, { format: "pagerduty", routingKey: ROUTING_KEY, name: "pager" });
  expect(pager).toEqual({
    webhook: { id: "pager", url: "https://events.pagerduty.com", format: "pagerduty", createdAt: expect.any(String) },
  });
  expect(await server.call("POST", "/v1/webhooks/pager/rotate")).toMatchObject({ status: 400 });
  for (const verb of ["rotate", "test"]) {
    expect(await server.call("POST", `/v1/webhooks/nobody/${verb}`)).toMatchObject({ status: 404 });
  }
});

test("there are not more webhooks than an alert is written for", async () => {
  const server = await testServer();
  for (let n = 0; n < 64; n++) await make(server, { url: "https://example.com/", name: `w${n}` });
  const answer = await server.call("POST", "/v1/webhooks", { url: "https://example.com/" });
  expect(answer).toMatchObject({ status: 400, body: { detail: expect.stringContaining("64 webhooks") } });
});
