/** One request of the poll path over real sockets: whatever answers, it ends once, within its bounds. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { Poller } from "../../provider/src/connection/poll-request.ts";
import type { PollResult } from "../../provider/src/connection/state.ts";
import { MAX_SERVER_FRAME_BYTES } from "../../provider/src/limits.ts";
import { EPOCH, markOf } from "./machine-driver.ts";

const CURSOR = { epoch: EPOCH, revision: 5, mark: markOf(5) };

async function serving(answer: RequestListener) {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const snapshotUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix/v1/snapshot`;
  return { poller: pollerOf({ snapshotUrl }), requests, sockets };
}

function pollerOf(over: { readonly snapshotUrl: string; readonly token?: string }): Poller {
  const poller = new Poller({ token: "fb_runtime_t_secret", instance: "a".repeat(32), sdk: "test", ...over });
  onTestFinished(() => poller.close());
  return poller;
}

const asked = (poller: Poller, cursor: typeof CURSOR | null = CURSOR) =>
  new Promise<PollResult>((resolve) => poller.ask({ nonce: "n-1", cursor }, resolve));

test("names its place and its nonce in the query, itself in headers, and the token in neither URL nor answer", async () => {
  const { poller, requests } = await serving((_, response) =>
    response.writeHead(304, { "flagback-lease": "n-1" }).end(),
  );
  expect(await asked(poller)).toMatchObject({
    kind: "response",
    status: 304,
    headers: { "flagback-lease": "n-1" },
    text: "",
  });
  expect(requests[0]?.url).toBe("/prefix/v1/snapshot?after=5&lease=n-1");
  expect(requests[0]?.headers).toMatchObject({
    authorization: "Bearer fb_runtime_t_secret",
    "flagback-instance": "a".repeat(32),
    "flagback-sdk": "test",
    "flagback-epoch": CURSOR.epoch,
    "flagback-mark": CURSOR.mark,
  });
  await asked(poller, null);
  expect(requests[1]?.url).toBe("/prefix/v1/snapshot?lease=n-1");
  expect(requests[1]?.headers).not.toHaveProperty("flagback-epoch");
});

test("brings a body that came in pieces, split within a character", async () => {
  const body = Buffer.from('{"a":"€"}');
  const { poller } = await serving((_, response) => {
    response.write(body.subarray(0, 7), () => response.end(body.subarray(7)));
  });
  expect(await asked(poller)).toMatchObject({ kind: "response", status: 200, text: '{"a":"€"}' });
});

test("a body without an end is cut off at the limit", async () => {
  let sentBytes = 0;
  const chunk = Buffer.alloc(1024 * 1024, "x");
  const { poller, sockets } = await serving((_, response) => {
    const write = () => {
      if (response.destroyed) return;
      sentBytes += chunk.length;
      response.write(chunk, write);
    };
    write();
  });
  expect(await asked(poller)).toEqual({
    kind: "failure",
    detail: `an answer of more than ${MAX_SERVER_FRAME_BYTES} bytes`,
  });
  while (sockets.size > 0) await new Promise((resolve) => setImmediate(resolve));
  // What was on its way when it was cut off.
  expect(sentBytes).toBeLessThan(MAX_SERVER_FRAME_BYTES + 32 * chunk.length);
});

test.each<[string, RequestListener]>([
  [
    "breaks off",
    (_, response) => void response.writeHead(200, { "content-length": "100" }).write("x", () => response.destroy()),
  ],
  ["is none", (request) => request.socket.destroy()],
  ["is no HTTP", (request) => request.socket.end("SSH-2.0-OpenSSH\r\n")],
])("an answer that %s is a failure, told once", async (_, answer) => {
  const { poller } = await serving(answer);
  expect(await asked(poller)).toMatchObject({ kind: "failure" });
});

test("the body of a refusal is not kept", async () => {
  const { poller } = await serving((_, response) => response.writeHead(502).end("<html>".repeat(1_000)));
  expect(await asked(poller)).toMatchObject({ kind: "response", status: 502, text: "" });
});

test("an abandoned request is not heard, and its socket ends", async () => {
  let took: (response: ServerResponse) => void = () => undefined;
  const open = new Promise<ServerResponse>((resolve) => {
    took = resolve;
  });
  const { poller } = await serving((_, response) => took(response));
  let heard = 0;
  poller.ask({ nonce: "n-1", cursor: null }, () => {
    heard += 1;
  });
  const response = await open;
  poller.abandon();
  await once(response, "close");
  expect(heard).toBe(0);
});

test("one request at a time: the next one ends the one before", async () => {
  const responses: ServerResponse[] = [];
  const { poller, requests } = await serving((_, response) => {
    responses.push(response);
    if (responses.length === 2) response.writeHead(304).end();
  });
  let first = 0;
  poller.ask({ nonce: "n-1", cursor: null }, () => {
    first += 1;
  });
  while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const result = await new Promise<PollResult>((resolve) => poller.ask({ nonce: "n-2", cursor: null }, resolve));
  expect(result).toMatchObject({ kind: "response", status: 304 });
  expect(first).toBe(0);
});

test("a connection is kept for the next request, and closing leaves none behind", async () => {
  const { poller, requests, sockets } = await serving((_, response) => response.writeHead(304).end());
  await asked(poller);
  await asked(poller);
  expect(requests[1]?.socket).toBe(requests[0]?.socket);
  const [socket] = sockets;
  if (!socket) throw new Error("no connection was kept");
  const closed = once(socket, "close");
  poller.close();
  await closed;
  expect(sockets.size).toBe(0);
});

test("a server that is not there, and a token that no header can carry, are failures that quote nothing", async () => {
  expect(await asked(pollerOf({ snapshotUrl: "http://127.0.0.1:1/v1/snapshot" }))).toEqual({
    kind: "failure",
    detail: "ECONNREFUSED",
  });
  const odd = await asked(pollerOf({ snapshotUrl: "http://127.0.0.1:1/v1/snapshot", token: "secret\r\nx" }));
  expect(odd).toMatchObject({ kind: "failure" });
  expect(JSON.stringify(odd)).not.toContain("secret");
});
