/** Clients that ask and don't take what they are answered. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { MAX_PIPELINED_REQUESTS } from "../../server/src/limits.ts";
import { halfOpen, isEnded } from "../support/half-open.ts";
import { metric } from "../support/metric.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, testServer } from "../support/server.ts";

const dropped = (reason: string) => `flagback_dropped_total{reason="${reason}"}`;
const get = (path: string, headers = "") => `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;

test("an answer that nobody reads is cut off", async () => {
  const server = await testServer({ limits: { unreadAnswerMs: 500 } });
  for (let n = 0; n < 4; n++) {
    const payload = { prompt: "x".repeat(200_000) };
    expect((await server.call("POST", "/v1/versions", { id: `big@${n}`, kind: "prompt", payload })).status).toBe(200);
  }
  // 0.8 MB each, together more than the kernel keeps for one socket.
  const requests = get("/v1/versions", `Authorization: Bearer ${server.adminToken}\r\n`).repeat(MAX_PIPELINED_REQUESTS);
  const socket = await halfOpen(server);
  socket.pause();
  socket.write(requests);
  await eventually("it is counted", async () => (await metric(server, dropped("unread_answer"))) === 1);
  socket.resume();
  await eventually("it is ended", () => isEnded(socket));
  expect(socket.bytesRead).toBeLessThan(MAX_PIPELINED_REQUESTS * 800_000);
});

test("an answer that the server itself takes long for is not, nor is a stream that has nothing to say", async () => {
  const server = await testServer({ limits: { unreadAnswerMs: 500 } });
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  expect((await server.call("GET", "/v1/audit?after=999999999&waitMs=2500")).status).toBe(200);
  expect(await metric(server, dropped("unread_answer"))).toBe(0);
  await server.call("POST", "/v1/stop", { reason: "it is still there" });
  await runtime.next("delta");
});

test("a stranger's request under way keeps its socket's place, which another may need", async () => {
  const server = await testServer({ limits: { maxWaitingSocketsPerSender: 2, waitingPatienceMs: 0 } });
  const signed = `webhook-id: m\r\nwebhook-timestamp: ${Math.floor(Date.now() / 1_000)}\r\nwebhook-signature: v1,AAAA\r\n`;
  const sockets: Socket[] = [];
  for (let n = 0; n < 5; n++) {
    const socket = await halfOpen(server, "127.0.0.2");
    sockets.push(socket);
    // The other has come as well when the first is answered, and waits for its body.
    socket.write(`${get("/healthz")}POST /v1/triggers/t HTTP/1.1\r\nHost: x\r\n${signed}Content-Length: 9\r\n\r\n`);
    await once(socket, "data");
  }
  await eventually("all but two are ended", () => sockets.filter(isEnded).length === 3);
  expect(await metric(server, dropped("waiting_sockets"))).toBe(3);
  const other = await halfOpen(server, "127.0.0.2");
  other.write(get("/healthz"));
  expect(String((await once(other, "data"))[0])).toContain("200 OK");
});

test("a socket that pipelines without end is ended, and one that pipelines as many as it may is answered", async () => {
  const server = await testServer();
  const headers = `Authorization: Bearer ${server.adminToken}\r\n`;
  const held = get("/v1/audit?after=999999999&waitMs=30000", headers);
  const endless = await halfOpen(server);
  endless.write(held.repeat(10 * MAX_PIPELINED_REQUESTS));
  await eventually("it is ended", () => isEnded(endless));
  expect(await metric(server, dropped("pipelined_requests"))).toBe(1);

  const patient = await halfOpen(server);
  let answers = "";
  patient.on("data", (data) => {
    answers += String(data);
  });
  const answered = () => answers.split("HTTP/1.1 200 OK").length - 1;
  for (let times = 1; times <= 3; times++) {
    patient.write(get("/healthz").repeat(MAX_PIPELINED_REQUESTS));
    await eventually("all are answered", () => answered() === times * MAX_PIPELINED_REQUESTS);
  }
});
