/** Who is let in when many come at once, and who waits at the door for ever. */
import { once } from "node:events";
import type { Socket } from "node:net";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { type Seated, WaitingRoom } from "../../server/src/http/waiting-room.ts";
import { AdmissionRate } from "../../server/src/stream/admission.ts";
import { halfOpen, isEnded } from "../support/half-open.ts";
import { metric } from "../support/metric.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";

describe("the rate of admission", () => {
  test("a crowd is let in up to the burst; the rest are told turns that follow each other at the rate", () => {
    const rate = new AdmissionRate({ perSecond: 2, burst: 3 });
    const waits = Array.from({ length: 8 }, () => rate.ask(0));
    // By hand: three at once, then one every half second.
    expect(waits).toEqual([0, 0, 0, 500, 1_000, 1_500, 2_000, 2_500]);
  });

  test("after a pause as many may come at once again, and nobody is told to wait longer than the longest", () => {
    const rate = new AdmissionRate({ perSecond: 2, burst: 3 });
    for (let n = 0; n < 1_000; n++) rate.ask(0);
    expect(rate.ask(0)).toBe(30_000);
    expect([rate.ask(600_000), rate.ask(600_000), rate.ask(600_000), rate.ask(600_000)]).toEqual([0, 0, 0, 500]);
  });

  test("whenever they come, no span of time lets in more than the burst and what the rate gives", () => {
    const asks = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(asks, fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (gaps, perSecond, burst) => {
        const rate = new AdmissionRate({ perSecond, burst });
        let nowMs = 0;
        const admitted: number[] = [];
        for (const gapMs of gaps) {
          nowMs += gapMs;
          if (rate.ask(nowMs) === 0) admitted.push(nowMs);
        }
        admitted.forEach((fromMs, first) => {
          admitted.slice(first).forEach((toMs, n) => {
            expect(n + 1).toBeLessThanOrEqual(burst + ((toMs - fromMs) / 1_000) * perSecond + 1e-6);
          });
        });
      }),
    );
  });

  test("runtimes beyond the rate are answered 503 with Retry-After, and it is counted", async () => {
    // One in twenty seconds, so that a machine that stands still for a moment is not late enough for a third.
    const server = await testServer({ limits: { upgradesPerSecond: 0.05, upgradeBurst: 2 } });
    const token = await server.token("runtime");
    await RawRuntime.connect(server.url, token);
    await RawRuntime.connect(server.url, token);
    const refused = await upgrade(server, { authorization: `Bearer ${token}` });
    expect(refused).toMatchObject({ status: 503, code: "overloaded", retryAfter: "20" });
    expect(await metric(server, 'flagback_dropped_total{reason="admission_rate"}')).toBe(1);
  });

  test("who has no right to a stream uses up no turn of those who have it", async () => {
    const server = await testServer({ limits: { upgradesPerSecond: 1, upgradeBurst: 1 } });
    const viewer = await server.token("viewer");
    for (let n = 0; n < 5; n++) {
      expect((await upgrade(server, {})).status).toBe(401);
      expect((await upgrade(server, { authorization: `Bearer ${viewer}` })).status).toBe(403);
    }
    const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
    expect((await runtime.next("snapshot")).type).toBe("snapshot");
  });

  test("the server holds as many streams as it takes, and takes another when one has gone", async () => {
    const server = await testServer({ limits: { maxStreams: 1 } });
    const token = await server.token("runtime");
    const first = await RawRuntime.connect(server.url, token);
    const headers = { authorization: `Bearer ${token}` };
    expect(await upgrade(server, headers)).toMatchObject({ status: 503, code: "overloaded" });
    first.close();
    await eventually("there is room", async () => (await upgrade(server, headers)).status === 101);
  });
});

describe("the waiting room", () => {
  const ids = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
  const step = fc.record({
    id: ids,
    sender: fc.constantFrom("one", "two", undefined),
    leaves: fc.boolean(),
    gapMs: fc.integer({ min: 0, max: 5 }),
  });

  test("it never seats more than its places, nor pushes out anybody within the patience", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const room = new WaitingRoom({ places: 4, placesPerSender: 2, patienceMs: 10 });
        /** Who sits there since when, kept by what the room answered alone. */
        const seats = new Map<string, { sender: string | undefined; sinceMs: number }>();
        let nowMs = 0;
        for (const { id, sender, leaves, gapMs } of steps) {
          nowMs += gapMs;
          seats.delete(id);
          if (leaves) {
            room.leave(id);
            continue;
          }
          const seated = room.enter(id, sender, nowMs);
          if (!seated.isSeated) continue;
          if (seated.pushedOut !== undefined) {
            expect(nowMs - seats.get(seated.pushedOut)!.sinceMs).toBeGreaterThanOrEqual(10);
            seats.delete(seated.pushedOut);
          }
          seats.set(id, { sender, sinceMs: nowMs });
          expect(room.size).toBe(seats.size);
          expect(seats.size).toBeLessThanOrEqual(4);
          for (const name of ["one", "two"]) {
            expect([...seats.values()].filter((seat) => seat.sender === name).length).toBeLessThanOrEqual(2);
          }
        }
      }),
    );
  });

  test("one sender's many push out only their own, and others find a place", () => {
    const room = new WaitingRoom({ places: 10, placesPerSender: 2, patienceMs: 0 });
    const many = Array.from({ length: 100 }, (_, n) => room.enter(`many ${n}`, "loud", n));
    const pushedOut = many.flatMap((seated: Seated) => (seated.isSeated && seated.pushedOut) || []);
    expect(pushedOut).toEqual(Array.from({ length: 98 }, (_, n) => `many ${n}`));
    expect(room.enter("other", "quiet", 200)).toEqual({ isSeated: true });
  });

  test("a trusted proxy, which speaks for many, may fill the room but not more", () => {
    const room = new WaitingRoom({ places: 5, placesPerSender: 2, patienceMs: 1_000 });
    const seated = Array.from({ length: 6 }, (_, n) => room.enter(`${n}`, undefined, 0).isSeated);
    expect(seated).toEqual([true, true, true, true, true, false]);
  });
});

/** Other addresses of this host: to the server they are other senders. */
const LOUD = "127.0.0.2";

test("two thousand half-open sockets of one address are cut down to its places, and the others are served, also from there", async () => {
  const server = await testServer({ limits: { maxWaitingSocketsPerSender: 100, waitingPatienceMs: 0 } });
  const token = await server.token("runtime");
  const runtime = await RawRuntime.connect(server.url, token);
  const sockets: Socket[] = [];
  // In portions that the listener's backlog holds: what the kernel drops, the server never sees.
  while (sockets.length < 2_000) {
    sockets.push(...(await Promise.all(Array.from({ length: 200 }, () => halfOpen(server, LOUD)))));
  }
  await eventually("all but its places are closed", () => sockets.filter(isEnded).length >= 1_900);
  runtime.send({ type: "lease", id: 1 });
  await runtime.next("lease");
  expect((await server.call("GET", "/healthz")).status).toBe(200);
  const served = await halfOpen(server, LOUD);
  served.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(String((await once(served, "data"))[0])).toContain("200 OK");
  expect(sockets.filter((each) => !isEnded(each)).length).toBeLessThanOrEqual(100);
  expect(await metric(server, 'flagback_dropped_total{reason="waiting_sockets"}')).toBeGreaterThanOrEqual(1_900);
});

test("streams and requests under way are not counted as waiting, however many there are", async () => {
  const server = await testServer({ limits: { maxWaitingSockets: 2, waitingPatienceMs: 0 } });
  const token = await server.token("runtime");
  const runtimes: RawRuntime[] = [];
  for (let n = 0; n < 10; n++) runtimes.push(await RawRuntime.connect(server.url, token));
  const { body } = await server.call<{ events: { id: number }[] }>("GET", "/v1/audit");
  const after = body.events.at(-1)?.id;
  const polls = Array.from({ length: 5 }, () =>
    server.call<{ events: unknown[] }>("GET", `/v1/audit?after=${after}&waitMs=20000`),
  );
  for (let n = 0; n < 10; n++) await halfOpen(server, LOUD);
  await server.call("POST", "/v1/stop", { reason: "all are still here" });
  for (const poll of polls) expect((await poll).body.events).toHaveLength(1);
  for (const runtime of runtimes) await runtime.next("delta");
});

test.each([
  ["says nothing", ""],
  ["sends one header after another", "GET /v1/stream HTTP/1.1\r\nHost: x\r\n"],
  ["stops in the middle of its headers", "GET /v1/stream HTTP/1.1\r\nConnection: Upgra"],
])("a socket that %s is ended when its time is up", async (_what, text) => {
  const server = await testServer({ limits: { headersTimeoutMs: 300, requestTimeoutMs: 300 } });
  const socket = await halfOpen(server);
  const drip = setInterval(() => socket.write(text === "" ? "" : "x: y\r\n"), 50);
  onTestFinished(() => clearInterval(drip));
  if (text) socket.write(text);
  await eventually("it is ended", () => isEnded(socket));
  expect(await metric(server, 'flagback_dropped_total{reason="slow_request"}')).toBe(1);
});

test("a stream that never says hello is closed", async () => {
  const server = await testServer({ limits: { helloTimeoutMs: 200 } });
  const silent = new RawRuntime(server.url, await server.token("runtime"));
  await silent.opened();
  expect(await silent.closeCode()).toBe(4400);
  expect(await metric(server, 'flagback_dropped_total{reason="no_hello"}')).toBe(1);
});

test("a peer that is refused at the upgrade and does not hang up is cut off", async () => {
  const server = await testServer();
  const socket = await halfOpen(server);
  socket.write("GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  expect(String((await once(socket, "data"))[0])).toContain("401");
  // Our side stays open, and what we send is taken until the server has had enough.
  const drip = setInterval(() => socket.write("x"), 50);
  onTestFinished(() => clearInterval(drip));
  await eventually("it is closed", () => socket.closed);
});

describe("web pages", () => {
  test("an origin that is allowed opens a stream, and only that one", async () => {
    const server = await testServer({ allowedOrigins: ["https://ops.example.com"] });
    const authorization = `Bearer ${await server.token("runtime")}`;
    const status = async (origin: string) => (await upgrade(server, { authorization, origin })).status;
    expect(await status("https://ops.example.com")).toBe(101);
    for (const origin of ["https://ops.example.com.evil.net", "http://ops.example.com", "null", ""]) {
      expect([origin, await status(origin)]).toEqual([origin, 403]);
    }
  });
});

interface Upgraded {
  readonly status: number;
  readonly code?: string;
  readonly retryAfter?: string;
}

/** How an upgrade of the stream is answered. A stream that opens is closed at once. */
function upgrade(server: TestServer, headers: Record<string, string>): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/stream`, ["flagback.v1"], { headers });
    socket.on("unexpected-response", (_request, response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => {
        const retryAfter = response.headers["retry-after"];
        resolve({ status: response.statusCode ?? 0, ...JSON.parse(text), ...(retryAfter && { retryAfter }) });
      });
    });
    socket.on("open", () => {
      socket.terminate();
      resolve({ status: 101 });
    });
    socket.on("error", reject);
  });
}
