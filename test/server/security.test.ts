/** Who is slowed and who is not, what every answer tells a browser, and where a right ends. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:http";
import { connect } from "node:net";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { FailedAttempts } from "../../server/src/auth/failed-attempts.ts";
import { AddressRanges, isLoopback, parseAddress, senderOf } from "../../server/src/net/addresses.ts";
import { clientAddress } from "../../server/src/net/client-address.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

describe("failed authentications", () => {
  test("of one sender are slowed beyond the limit, with when to try again, and its valid tokens pass", async () => {
    const server = await testServer({ limits: { authFailuresPerMinute: 3 } });
    const bad = (token: string | null) => server.call("GET", "/v1/aliases", undefined, { token });
    expect([(await bad("x")).status, (await bad(null)).status, (await bad("y")).status]).toEqual([401, 401, 401]);
    const slowed = await bad("x");
    expect(slowed).toMatchObject({ status: 429, body: { code: "too_many_failures" } });
    const retryAfter = Number(slowed.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect((await server.call("GET", "/v1/aliases")).status).toBe(200);
    expect((await server.call("GET", "/healthz", undefined, { token: null })).status).toBe(200);
    expect((await from(server, "127.0.0.3", {})).statusCode).toBe(401);
    const metrics = (await server.call<string>("GET", "/metrics")).body;
    expect(metrics).toContain('flagback_auth_failures_total{result="refused"} 4');
    expect(metrics).toContain('flagback_auth_failures_total{result="slowed"} 1');
  });

  test("at the stream count with those of the API", async () => {
    const server = await testServer({ limits: { authFailuresPerMinute: 2 } });
    const upgrade = { connection: "Upgrade", upgrade: "websocket" };
    for (let n = 0; n < 2; n++) expect((await from(server, "127.0.0.1", upgrade, "/v1/stream")).statusCode).toBe(401);
    const slowed = await from(server, "127.0.0.1", upgrade, "/v1/stream");
    expect([slowed.statusCode, slowed.headers["retry-after"]]).toEqual([429, expect.stringMatching(/^\d+$/)]);
    expect((await server.call("GET", "/v1/aliases", undefined, { token: null })).status).toBe(429);
  });

  test("with one revoked token, again and again, are refused each time, and streams go on meanwhile", async () => {
    const server = await testServer({ limits: { authFailuresPerMinute: 50 } });
    const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
    const { body } = await server.call<{ secret: string; token: { id: string } }>("POST", "/v1/tokens", {
      role: "admin",
      name: "stolen",
    });
    await server.call("DELETE", `/v1/tokens/${body.token.id}`);
    const replays = await Promise.all(
      Array.from({ length: 500 }, () => server.call("POST", "/v1/stop", { reason: "x" }, { token: body.secret })),
    );
    const statuses = replays.map((answer) => answer.status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(50);
    expect(statuses.filter((status) => status === 429)).toHaveLength(450);
    runtime.send({ type: "lease", id: 1 });
    await runtime.next("lease");
    expect(
      (await server.call<{ killSwitches: unknown[] }>("GET", "/v1/kill-switches")).body.killSwitches,
    ).toMatchObject([{ engaged: [] }]);
  });

  test("are counted by what a trusted proxy says of its client, and by nobody else's word", async () => {
    const behind = (client: string) => ({ "x-forwarded-for": client });
    const limits = { authFailuresPerMinute: 1 };
    const trusting = await testServer({ limits, trustedProxies: ["127.0.0.0/30"] });
    expect((await from(trusting, "127.0.0.1", behind("192.0.2.1"))).statusCode).toBe(401);
    expect((await from(trusting, "127.0.0.2", behind("192.0.2.1"))).statusCode).toBe(429);
    expect((await from(trusting, "127.0.0.1", behind("192.0.2.2"))).statusCode).toBe(401);
    const wary = await testServer({ limits });
    expect((await from(wary, "127.0.0.1", behind("192.0.2.1"))).statusCode).toBe(401);
    expect((await from(wary, "127.0.0.1", behind("192.0.2.2"))).statusCode).toBe(429);
  });

  test("cost bounded memory, and each sender is told what a count of its own would tell it", () => {
    const event = fc.record({ sender: fc.integer({ min: 0, max: 5 }), gapMs: fc.integer({ min: 0, max: 60 }) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const attempts = new FailedAttempts({ perWindow: 2, windowMs: 100, maxSenders: 6 });
        const model = new Map<number, { startedMs: number; failures: number }>();
        let nowMs = 0;
        for (const { sender, gapMs } of events) {
          nowMs += gapMs;
          const known = model.get(sender);
          const window = known && nowMs - known.startedMs < 100 ? known : { startedMs: nowMs, failures: 0 };
          window.failures += 1;
          model.set(sender, window);
          const waitMs = attempts.count(`${sender}`, nowMs);
          expect(waitMs).toBe(window.failures > 2 ? window.startedMs + 100 - nowMs : 0);
        }
        expect(attempts.size).toBeLessThanOrEqual(6);
      }),
    );
  });

  test("of a million senders are forgotten, oldest first, and the last are remembered", () => {
    const attempts = new FailedAttempts({ perWindow: 1, windowMs: 60_000, maxSenders: 1_000 });
    for (let n = 0; n < 1_000_000; n++) attempts.count(`sender ${n}`, 0);
    expect(attempts.size).toBe(1_000);
    expect(attempts.count("sender 999999", 1)).toBe(59_999);
    expect(attempts.count("sender 0", 1)).toBe(0);
  });
});

describe("addresses", () => {
  test("one host of IPv6 is one sender, whichever of its /64 it uses; IPv4 is itself, also mapped", () => {
    expect(senderOf("2001:db8:1:2:3:4:5:6")).toBe(senderOf("2001:db8:1:2::1"));
    expect(senderOf("2001:db8:1:2::1")).not.toBe(senderOf("2001:db8:1:3::1"));
    expect(senderOf("::ffff:192.0.2.1")).toBe("192.0.2.1");
    expect(senderOf("192.0.2.1")).not.toBe(senderOf("192.0.2.2"));
  });

  test.each([
    ["nobody in between", "192.0.2.1", undefined, "192.0.2.1"],
    ["a proxy", "10.0.0.1", "192.0.2.1", "192.0.2.1"],
    ["two proxies", "10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"],
    ["a client that claims to be another", "10.0.0.1", "198.51.100.9, 192.0.2.1", "192.0.2.1"],
    ["a stranger that claims to be a proxy", "192.0.2.1", "198.51.100.9", "192.0.2.1"],
    ["a proxy that writes what is no address", "10.0.0.1", "unknown", "10.0.0.1"],
    ["a proxy that says nothing", "10.0.0.1", "", "10.0.0.1"],
    ["proxies only", "10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"],
    ["a proxy seen through IPv6", "::ffff:10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"],
  ])("with %s the client is told apart", (_what, remoteAddress, forwarded, client) => {
    const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
    const asked = { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
    expect(clientAddress(asked, AddressRanges.parse(["10.0.0.0/8"], "test"))).toBe(client);
  });

  test("whatever a header says, the client is an address that was seen or that stands in it", () => {
    const part = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constant("10.9.9.9"));
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const asked = { socket: { remoteAddress: "10.0.0.1" }, headers: { "x-forwarded-for": parts.join(", ") } };
        const client = clientAddress(asked as unknown as IncomingMessage, AddressRanges.parse(["10.0.0.0/8"], "test"));
        const written = parts
          .join(",")
          .split(",")
          .map((each) => parseAddress(each.trim())?.toString());
        expect(["10.0.0.1", ...written]).toContain(client);
      }),
    );
  });

  test("a listener is reached from this host only on loopback", () => {
    expect([undefined, "localhost", "127.0.0.1", "127.8.8.8", "::1"].filter((host) => !isLoopback(host))).toEqual([]);
    expect(["0.0.0.0", "::", "10.0.0.1", "example.com"].filter((host) => isLoopback(host))).toEqual([]);
  });
});

describe("every answer", () => {
  test.each([
    ["an answer", "GET", "/healthz", {}],
    ["an answer without a body", "HEAD", "/healthz", {}],
    ["a refusal", "GET", "/v1/tokens", {}],
    ["a path that is none", "GET", "/nothing", {}],
    ["a path that can't be decoded", "GET", "/v1/aliases/%zz", {}],
    ["a method that is none of the route's", "OPTIONS", "/v1/aliases", { origin: "https://evil.example" }],
    ["an upgrade that is refused", "GET", "/v1/stream", { connection: "Upgrade", upgrade: "websocket" }],
    ["what is no HTTP", "hello", "", undefined],
  ])("(%s) tells a browser to run, frame, guess at and keep none of it", async (_what, method, path, headers) => {
    const server = await testServer();
    const text = await raw(server, headers === undefined ? `${method}\r\n\r\n` : requestText(method, path, headers));
    const [head = ""] = text.toLowerCase().split("\r\n\r\n");
    expect(head).toContain("content-security-policy: default-src 'none';");
    expect(head).toContain("x-content-type-options: nosniff");
    expect(head).toContain("cache-control: no-store");
    expect(head).toContain("referrer-policy: no-referrer");
    expect(head).not.toContain("access-control-allow-origin");
    expect(head).not.toContain("strict-transport-security");
  });

  test("with a token too, and where nothing has changed", async () => {
    const server = await testServer();
    const token = await server.token("runtime");
    const { headers, status } = await server.call("GET", "/v1/snapshot?after=1", undefined, { token });
    expect([status, headers.get("content-security-policy"), headers.get("cache-control")]).toEqual([
      304,
      expect.stringContaining("default-src 'none'"),
      "no-store",
    ]);
  });
});

test("a poll that was waiting when its token was revoked ends at once and learns nothing more", async () => {
  const server = await testServer();
  const { body } = await server.call<{ secret: string; token: { id: string } }>("POST", "/v1/tokens", {
    role: "viewer",
    name: "leaves",
  });
  const { events } = (await server.call<{ events: { id: number }[] }>("GET", "/v1/audit")).body;
  const path = `/v1/audit?after=${events.at(-1)?.id}&waitMs=30000`;
  const poll = server.call("GET", path, undefined, { token: body.secret });
  await eventually("it has had the time to arrive", async () => (await server.call("GET", "/healthz")).status === 200);
  await server.call("DELETE", `/v1/tokens/${body.token.id}`);
  expect(await poll).toMatchObject({ status: 401, body: { code: "unauthorized" } });
});

describe("a token's text", () => {
  test("that is anything but a token's whole text is unauthorized, never an error of the server", async () => {
    const server = await testServer({ limits: { authFailuresPerMinute: 100_000 } });
    await server.call("POST", "/v1/apply", SUPPORT_AGENT);
    const good = await server.token("viewer");
    const cut = fc.integer({ min: 0, max: good.length - 1 });
    const mutated = fc.oneof(
      cut.map((end) => good.slice(0, end)),
      fc.tuple(cut, fc.constantFrom("g", "0", "f", "_", " ", "ä", "F")).map(([at, char]) => {
        return good[at] === char ? `${good}0` : good.slice(0, at) + char + good.slice(at + 1);
      }),
      fc.constantFrom(`${good} ${good}`, good.toUpperCase(), `${good}\t.`, good.replace("viewer", "admin")),
      fc.string({ unit: "grapheme-ascii" }),
      fc.stringMatching(/^fb_[a-z]{1,9}_[0-9a-f]{1,20}_[0-9a-f]{0,60}$/),
    );
    await fc.assert(
      fc.asyncProperty(mutated, fc.constantFrom("Bearer ", "bearer ", "Basic ", ""), async (token, scheme) => {
        // HTTP itself cuts blanks at the ends.
        fc.pre(`${scheme}${token}`.trim() !== `Bearer ${good}`);
        const text = await raw(server, requestText("GET", "/v1/aliases", { authorization: `${scheme}${token}` }));
        expect(text.split("\r\n")[0]).toMatch(/^HTTP\/1\.1 40[01] /);
        expect(text).not.toContain("support-agent@");
      }),
      { numRuns: 200 },
    );
    expect((await server.call("GET", "/v1/aliases", undefined, { token: good })).status).toBe(200);
  });
});

/** A request from another address of this host: to the server it is another sender. */
async function from(
  server: TestServer,
  localAddress: string,
  headers: Record<string, string>,
  path = "/v1/aliases",
): Promise<IncomingMessage> {
  const sent = request(server.url + path, { localAddress, headers, agent: false });
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  response.resume();
  return response;
}

function requestText(method: string, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries({ host: "x", connection: "close", ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** Everything that the server answers to some bytes until it closes the connection. */
async function raw(server: TestServer, text: string): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  let answer = "";
  socket.on("data", (data) => {
    answer += data;
  });
  socket.write(text, "latin1");
  await once(socket, "close");
  return answer;
}
