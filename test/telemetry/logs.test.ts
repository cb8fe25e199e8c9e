/** Each line of the log can be found by the request, the decision or the incident that it is about. */
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import type { AuditEvent } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { requestIdOf } from "../../server/src/http/request-id.ts";
import { captureLog } from "../support/captured-log.ts";
import { exposing, failures } from "../support/rollout.ts";
import { eventually, testServer } from "../support/server.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("a line is one JSON object with its level by name and its time in ISO 8601", () => {
  const { log, lines } = captureLog();
  log.warn({ alias: "a" }, "look");
  expect(lines()).toEqual([
    { level: "warn", time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/), alias: "a", msg: "look" },
  ]);
});

test("a change is logged with the id that its caller gave the request, which the answer repeats", async () => {
  const { log, lines } = captureLog();
  const server = await testServer({ log });
  const headers = { "x-request-id": "deploy-42.retry:1" };
  const answer = await server.call<{ change: { auditId: number } }>("POST", "/v1/stop", { reason: "x" }, { headers });
  expect(answer.headers.get("x-request-id")).toBe("deploy-42.retry:1");
  const { auditId } = answer.body.change;
  const line = lines().find(({ action }) => action === "stop");
  expect(line).toMatchObject({ level: "info", requestId: "deploy-42.retry:1", actor: "first admin", auditId });
  const answered = await eventually("the request is logged", () =>
    lines().find(({ msg, requestId }) => msg === "answered a request" && requestId === "deploy-42.retry:1"),
  );
  expect(answered).toMatchObject({ level: "debug", method: "POST", route: "/v1/stop", status: 200 });
});

test("what changes no document is logged with its request too, and a repeat of it is not logged again", async () => {
  const { log, lines } = captureLog("info");
  const server = await testServer({ log });
  const ask = () =>
    server.call("POST", "/v1/tokens", { role: "viewer", name: "ci" }, { headers: { "idempotency-key": "once" } });
  const id = (await ask()).headers.get("x-request-id");
  await ask();
  const made = lines().filter(({ action }) => action === "token.create");
  expect(made).toMatchObject([{ requestId: id, actor: "first admin" }]);
});

test("every error says the id of its request in its header and its body", async () => {
  const server = await testServer();
  const refused = [
    await server.call("GET", "/v1/nothing"),
    await server.call("GET", "/v1/aliases", undefined, { token: null }),
    await server.call("POST", "/v1/stop", { reason: 7 }),
    await server.call("GET", "/v1/aliases/%ff"),
    await server.call("GET", "/v1/aliases/nobody"),
  ];
  expect(refused.map(({ status }) => status)).toEqual([404, 401, 400, 400, 404]);
  for (const { body, headers } of refused) {
    expect(body.requestId).toMatch(UUID);
    expect(headers.get("x-request-id")).toBe(body.requestId);
  }
});

test("a refused upgrade says the id that its runtime gave it", async () => {
  const server = await testServer();
  const headers = { connection: "upgrade", upgrade: "websocket", "x-request-id": "runtime-7" };
  const answer = await new Promise<{ id: unknown; body: string }>((resolve, reject) => {
    const request = httpRequest(`${server.url}/v1/stream`, { headers }, (response) => {
      let body = "";
      response.on("data", (chunk) => (body += chunk));
      response.on("end", () => resolve({ id: response.headers["x-request-id"], body }));
    });
    request.on("error", reject).end();
  });
  expect(answer.id).toBe("runtime-7");
  expect(JSON.parse(answer.body)).toMatchObject({ code: "unauthorized", requestId: "runtime-7" });
});

test("what is no request has no id, and is refused all the same", async () => {
  const server = await testServer();
  const { port } = new URL(server.url);
  const answer = await new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect(Number(port), "127.0.0.1", () => socket.write("no HTTP\r\n\r\n"));
    socket.on("data", (chunk) => (text += chunk));
    socket.on("close", () => resolve(text)).on("error", reject);
  });
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).not.toContain("x-request-id");
});

test.each([
  ["missing", undefined],
  ["empty", ""],
  ["too long", "a".repeat(129)],
  ["of several lines", "a\nforged line"],
  ["with quotes", '{"level":"error"}'],
  ["given twice", ["one", "two"]],
  ["a token", "fb_admin_a1b2c3_secret"],
])("a request id that is %s is replaced by a fresh one", (_what, given) => {
  const headers = given === undefined ? {} : { "x-request-id": given };
  expect(requestIdOf(headers as Record<string, string>)).toMatch(UUID);
});

test("whatever comes as a request id, the one that is used stands in a header and a line as it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (given) => {
      const id = requestIdOf({ "x-request-id": given });
      expect(id).toMatch(/^[!-~]{1,128}$/);
      expect(JSON.stringify(id)).toBe(`"${id}"`);
    }),
  );
});

test("each line about a rollback by the brain has its decision or its incident, up to the alert that nobody took", async () => {
  const { log, lines } = captureLog("info");
  const setup = await exposing({}, { log });
  await setup.server.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:1/" });
  const reporter = await setup.runtime();
  await reporter.report({ candidate: failures(3) });
  const audited: AuditEvent = await setup.rolledBack();
  const { revision = 0, decisionId, incident } = audited;
  reporter.raw.send({ type: "applied", revision, appliedAfterMs: 1 });
  const ids = { auditId: audited.id, revision, decisionId, incident };
  expect(lines().find(({ action }) => action === "rollback")).toMatchObject({ level: "info", actor: "brain", ...ids });
  const applied = await eventually("it is applied", () =>
    lines().find(({ msg }) => msg === "applied by 1 of 1 runtimes"),
  );
  expect(applied).toMatchObject({ level: "info", runtimes: 1, acknowledged: 1, lapsed: 0, ...ids });
  const missed = await eventually("the alert fails", () =>
    lines().find(({ msg }) => msg === "an alert was not delivered"),
  );
  expect(missed).toMatchObject({ level: "warn", incident, attempts: 1 });
});
