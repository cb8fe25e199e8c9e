/** Requests that wait for something to happen: each holds a place, and none is told before the runtimes are. */
import type { Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { AuditSignal } from "../../server/src/http/audit-signal.ts";
import { type DoorLimits, TOLD_PER_TURN } from "../../server/src/limits.ts";
import { halfOpen } from "../support/half-open.ts";
import { metric } from "../support/metric.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const DROPPED = 'flagback_dropped_total{reason="held_requests"}';
/** Of an audit row that is far away. */
const POLL = "/v1/audit?after=999999999&waitMs=30000";

async function limited(limits: Partial<DoorLimits>) {
  const server = await testServer({ limits });
  return { server, token: await server.token("viewer") };
}

/** Requests over a socket of their own that have come to where they are held or refused, and what the first was answered so far. */
async function ask(server: TestServer, token: string, path = POLL, times = 1) {
  const socket: Socket = await halfOpen(server);
  let answers = "";
  socket.on("data", (data) => {
    answers += String(data);
  });
  // Read in one piece, so that the others have come as far as it can when the first is answered.
  const first = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  const held = `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  socket.write(first + held.repeat(times));
  await eventually("the first request is answered", () => answers.includes("HTTP/1.1 200 OK"));
  return { socket, answer: () => answers.split(/(?=HTTP\/1\.1 )/)[1] ?? "" };
}

test("beyond as many waiting requests as there may be, one is told when to come back, and a change still answers", async () => {
  const { server, token } = await limited({ maxHeldRequests: 2, waitingPatienceMs: 60_000 });
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const polls = [await ask(server, token), await ask(server, token)];
  const refused = await server.call("GET", POLL, undefined, { token });
  expect(refused).toMatchObject({ status: 503, body: { code: "overloaded" } });
  expect(refused.headers.get("retry-after")).toBe("60");
  // The runtime says never that it has applied it, so this would wait for a minute.
  const path = "/v1/kill-switches/writes_disabled/engage?wait=applied&timeoutMs=60000";
  const engaged = await server.call("POST", path, { reason: "it is done all the same" });
  expect(engaged).toMatchObject({ status: 200, body: { propagation: { runtimes: 1, acknowledged: 0 } } });
  await runtime.next("delta");
  await eventually("those who waited are told", () =>
    polls.every(({ answer }) => answer().includes("HTTP/1.1 200 OK")),
  );
  expect(await metric(server, DROPPED)).toBe(2);
});

test("one token's polls take no place from another's, and the oldest of its own is answered before its time", async () => {
  const { server, token } = await limited({ maxHeldRequests: 3, maxHeldRequestsPerToken: 2, waitingPatienceMs: 0 });
  const other = await ask(server, await server.token("viewer"));
  const [first, ...later] = [await ask(server, token), await ask(server, token), await ask(server, token)];
  await eventually("the first is answered", () => first.answer().endsWith('{"events":[]}'));
  expect([other, ...later].map(({ answer }) => answer())).toEqual(["", "", ""]);
  expect(await metric(server, DROPPED)).toBe(1);
});

test("polls whose reader hung up have left their places", async () => {
  const { server, token } = await limited({ maxHeldRequests: 2, waitingPatienceMs: 60_000 });
  const { socket } = await ask(server, token, POLL, 2);
  const short = () => server.call("GET", POLL.replace("=30000", "=1"), undefined, { token });
  expect((await short()).status).toBe(503);
  socket.destroy();
  const both = async () => (await Promise.all([short(), short()])).every(({ status }) => status === 200);
  await eventually("their places are free", both);
});

test("a poll that is answered at once takes no place", async () => {
  const { server, token } = await limited({ maxHeldRequests: 0, waitingPatienceMs: 60_000 });
  const found = await server.call<{ events: unknown[] }>("GET", "/v1/audit?after=0&waitMs=30000", undefined, { token });
  expect(found.status).toBe(200);
  expect(found.body.events.length).toBeGreaterThan(0);
});

test("who waits for a rollout's end holds a place through other changes", async () => {
  const { server, token } = await limited({ maxHeldRequests: 1, waitingPatienceMs: 60_000 });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  const { answer } = await ask(server, token, "/v1/aliases/support-agent/rollout?wait=settled");
  await server.call("POST", "/v1/aliases/support-agent/pause", { reason: "no end yet" });
  expect((await server.call("GET", POLL, undefined, { token })).status).toBe(503);
  expect(answer()).toBe("");
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "the end" });
  await eventually("it is told", () => answer().includes('"result":"rolled_back"'));
});

test("runtimes are sent a change before those who only wait for its audit row are told, and they in portions", async () => {
  const signal = new AuditSignal();
  const order: string[] = [];
  const commit = (name: string) => {
    // As the hub does it, which is told of a commit first.
    setImmediate(() => order.push(name));
    signal.ring();
  };
  const listeners = 3 * TOLD_PER_TURN;
  for (let n = 0; n < listeners; n++) {
    const stop = signal.listen(() => {
      order.push("told");
      stop();
      if (n === 0) commit("second push");
    });
  }
  signal.ring();
  commit("first push");
  await eventually("all were told", () => order.filter((each) => each === "told").length === listeners);
  const told = (count: number) => Array.from({ length: count }, () => "told");
  expect(order).toEqual(["first push", ...told(TOLD_PER_TURN), "second push", ...told(2 * TOLD_PER_TURN)]);
});

test("a ring that came while somebody read is not missed, nor is one told who has stopped to listen", async () => {
  const signal = new AuditSignal();
  const told: string[] = [];
  const { rings } = signal;
  signal.ring();
  onTestFinished(signal.listen(() => told.push("read meanwhile"), rings));
  onTestFinished(signal.listen(() => told.push("knows")));
  signal.listen(() => told.push("stopped"), rings)();
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual(["read meanwhile"]);
});
