/** Bodies that come slowly or not at all: each holds memory until it is whole. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import type { DoorLimits } from "../../server/src/limits.ts";
import { halfOpen, isEnded } from "../support/half-open.ts";
import { metric } from "../support/metric.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";

const LOUD = "127.0.0.2";
const DROPPED = 'flagback_dropped_total{reason="waiting_bodies"}';

/** A request that sends the first byte of its body and no more. */
async function slowBody(server: TestServer, path: string, headers: string, from = LOUD): Promise<Socket> {
  const socket = await halfOpen(server, from);
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}\r\n`);
  socket.write("{");
  return socket;
}

const signed = () =>
  `webhook-id: m\r\nwebhook-timestamp: ${Math.floor(Date.now() / 1_000)}\r\nwebhook-signature: v1,AAAA\r\n`;
const bearer = (token: string) => `Authorization: Bearer ${token}\r\n`;
const LENGTH = "Content-Length: 200000\r\n";

async function limited(limits: Partial<DoorLimits>) {
  const server = await testServer({ limits });
  return { server, token: await server.token("runtime") };
}

test("of a stranger's bodies that don't come to an end only as many are kept as an address has places", async () => {
  const { server } = await limited({ maxStrangersBodiesPerSender: 3, waitingPatienceMs: 0 });
  const sockets: Socket[] = [];
  for (let n = 0; n < 20; n++) sockets.push(await slowBody(server, "/v1/triggers/t", signed() + LENGTH));
  await eventually("the others are closed", () => sockets.filter(isEnded).length >= 17);
  expect(await metric(server, DROPPED)).toBe(17);
  expect(sockets.filter((each) => !isEnded(each))).toHaveLength(3);
});

test("chunks without an announced length take a place, too", async () => {
  const { server, token } = await limited({ maxBodiesPerToken: 1, waitingPatienceMs: 0 });
  const headers = `${bearer(token)}Transfer-Encoding: chunked\r\n`;
  const first = await slowBody(server, "/v1/outcomes", headers);
  await slowBody(server, "/v1/outcomes", headers);
  await eventually("the first is closed", () => isEnded(first));
});

test("one token's slow bodies take no place from another's, nor do strangers'", async () => {
  const { server, token } = await limited({
    maxBodies: 3,
    maxBodiesPerToken: 2,
    maxStrangersBodies: 1,
    waitingPatienceMs: 60_000,
  });
  for (let n = 0; n < 3; n++) await slowBody(server, "/v1/outcomes", bearer(token) + LENGTH);
  for (let n = 0; n < 3; n++) await slowBody(server, "/v1/triggers/t", signed() + LENGTH);
  await eventually("those beyond their places are refused", async () => (await metric(server, DROPPED)) === 3);
  expect((await server.call("POST", "/v1/stop", { reason: "people get through" })).status).toBe(200);
  const refused = await server.call("POST", "/v1/outcomes", { outcomes: [] }, { token });
  expect(refused).toMatchObject({ status: 503, body: { code: "overloaded" } });
  expect(Number(refused.headers.get("retry-after"))).toBe(60);
});

test("a body that is whole has left its place, also where its sender keeps the connection", async () => {
  const { server, token } = await limited({ maxBodies: 1, waitingPatienceMs: 60_000 });
  const socket = await halfOpen(server);
  const body = JSON.stringify({ outcomes: [] });
  const request = `POST /v1/outcomes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${bearer(token)}Content-Length: ${body.length}\r\n\r\n${body}`;
  for (let n = 0; n < 3; n++) {
    socket.write(request);
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 400 /);
  }
  socket.destroy();
  const cut = await slowBody(server, "/v1/outcomes", bearer(token) + LENGTH);
  cut.destroy();
  await eventually("its place is free again", async () => {
    return (await server.call("POST", "/v1/outcomes", { outcomes: [] }, { token })).status === 400;
  });
});

test("a body that is refused before it has come has left its place, also where it never comes", async () => {
  const { server, token } = await limited({ maxBodiesPerToken: 1, waitingPatienceMs: 60_000 });
  for (let n = 0; n < 3; n++) {
    const socket = await slowBody(server, "/v1/outcomes", `${bearer(token)}Content-Length: 2000000\r\n`);
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
    await eventually("its place is free", async () => {
      return (await server.call("POST", "/v1/outcomes", { outcomes: [] }, { token })).status === 400;
    });
  }
});

test.each([
  ["nothing is there", "/v1/nothing", "", 404],
  ["no token is shown", "/v1/outcomes", "", 401],
])("where %s the answer does not wait for the body", async (_what, path, headers, status) => {
  const server = await testServer({ limits: { maxStrangersBodiesPerSender: 0, maxStrangersBodies: 0 } });
  const socket = await slowBody(server, path, headers + LENGTH);
  expect(String((await once(socket, "data"))[0])).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(await metric(server, DROPPED)).toBe(0);
});
