/** Feedback about a run that has ended, by its token. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { FlagbackProvider, type LaterReport, reportLater, withRun } from "@flagback/provider";
import { TestProvider } from "@flagback/provider/testing";
import type { Feedback } from "@flagback/schemas";
import { InMemoryProvider, OpenFeature } from "@openfeature/server-sdk";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { sendFeedback } from "../../provider/src/outcomes/feedback-sender.ts";

const STABLE = "support-agent@2.3.3";
const ITEM: Feedback = { id: "f1", runId: "r1", alias: "support-agent", version: STABLE, quality: 0.5 };
const TAKEN = { accepted: 1, duplicates: 0, rejected: [] };

describe("what is said", () => {
  let provider: TestProvider;
  let said: string[];
  beforeEach(() => {
    said = [];
    const logger = { warn: (message: string) => said.push(message), error: (message: string) => said.push(message) };
    provider = new TestProvider({ aliases: { "support-agent": STABLE, planner: "planner@1" } }, { logger });
  });

  const tokenOf = (over: object = {}, ...aliases: string[]) =>
    withRun({ provider, agent: "support-agent", runId: "r1", ...over }, async (run) => {
      for (const alias of aliases) await run.pin(alias, "none");
      return run.token();
    });

  test("is about each version that the run was handed itself, under one id", async () => {
    const token = await tokenOf({ conversationId: "c1" }, "support-agent", "planner");
    const report: LaterReport = { quality: 0.2, status: "escalated", safetyFlags: ["rude"], metrics: { stars: 1 } };
    expect(await reportLater(provider, token, report)).toBe("accepted");
    const [first, second] = provider.feedback();
    expect(first).toEqual({
      ...report,
      id: first?.id,
      runId: "r1",
      alias: "support-agent",
      version: STABLE,
      conversationId: "c1",
    });
    expect(second).toMatchObject({ id: first?.id, alias: "planner", version: "planner@1" });
    expect(first?.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("is not about what the run only carried for its conversation", async () => {
    provider.set({ aliases: { planner: { stable: "planner@1", stickiness: "conversation" } } });
    const first = await tokenOf({ conversationId: "c1" }, "support-agent", "planner");
    const second = await tokenOf({ token: first, runId: "r2" }, "support-agent");
    await reportLater(provider, second, { quality: 1 });
    expect(provider.feedback().map(({ runId, alias }) => [runId, alias])).toEqual([["r2", "support-agent"]]);
  });

  test("is said once under the caller's own id, however often it is sent", async () => {
    const token = await tokenOf({}, "support-agent");
    for (let i = 0; i < 3; i++) await reportLater(provider, token, { feedbackId: "ticket-17", quality: 0.1 });
    expect(provider.feedback().map(({ id }) => id)).toEqual(["ticket-17"]);
  });

  test("goes without what can't be used, which is named once", async () => {
    const token = await tokenOf({}, "support-agent");
    const report = { quality: 7, status: "escalated", comment: "so rude", feedbackId: "" } as LaterReport;
    expect(await reportLater(provider, token, report)).toBe("accepted");
    expect(provider.feedback()).toMatchObject([{ status: "escalated" }]);
    expect(provider.feedback()[0]).not.toHaveProperty("quality");
    expect(said).toEqual([expect.stringContaining("quality"), expect.stringContaining("comment")]);
  });

  test.each<[string, unknown, unknown]>([
    ["no token", undefined, { quality: 1 }],
    ["a token that is none", "fbrun1_nonsense", { quality: 1 }],
    ["a token that pins nothing", "empty", { quality: 1 }],
    ["nothing to say", "full", {}],
    ["nothing usable to say", "full", { quality: "good" }],
    ["no report", "full", null],
    [
      "a report that throws",
      "full",
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error("looked at");
          },
        },
      ),
    ],
  ])("with %s is refused, with a log line and without a throw", async (_what, token, report) => {
    const tokens: Record<string, string> = { empty: await tokenOf(), full: await tokenOf({}, "support-agent") };
    const given = typeof token === "string" ? (tokens[token] ?? token) : token;
    expect(await reportLater(provider, given as string, report as LaterReport)).toBe("refused");
    expect(said.length).toBeGreaterThan(0);
    expect(provider.feedback()).toEqual([]);
  });

  test("is sent by an OpenFeature client as well, and refused by a client of somebody else's provider", async () => {
    onTestFinished(() => OpenFeature.clearProviders());
    await OpenFeature.setProviderAndWait("ours", provider);
    await OpenFeature.setProviderAndWait("theirs", new InMemoryProvider());
    const token = await tokenOf({}, "support-agent");
    expect(await reportLater(OpenFeature.getClient("ours"), token, { quality: 1 })).toBe("accepted");
    expect(await reportLater(OpenFeature.getClient("theirs"), token, { quality: 1 })).toBe("refused");
    expect(provider.feedback()).toHaveLength(1);
  });

  test("to nobody is unreachable", async () => {
    const token = await tokenOf({}, "support-agent");
    provider.disconnect();
    expect(await reportLater(provider, token, { quality: 1 })).toBe("unreachable");
  });
});

describe("the way to the server", () => {
  test("is one request with the token in a header, to a path beside the stream's", async () => {
    const { url, asked } = await answering(() => ({ body: TAKEN }));
    const provider = new FlagbackProvider({ url: `${url}/flags/`, token: "fb_runtime_a_b" });
    expect(await provider.sendFeedback([ITEM])).toBe("accepted");
    expect(asked).toMatchObject([
      {
        method: "POST",
        path: "/flags/v1/feedback",
        authorization: "Bearer fb_runtime_a_b",
        body: { feedback: [ITEM] },
      },
    ]);
  });

  test("is tried again while nobody answers, with growing and bounded waits, and then given up", async () => {
    const { url, asked } = await answering(() => ({ status: 503, body: { any: "thing" } }));
    const { result, waitsMs, said } = await sent(url, 0.5);
    expect(result).toBe("unreachable");
    expect(asked).toHaveLength(5);
    // Half of 500 ms, doubling.
    expect(waitsMs).toEqual([250, 500, 1_000, 2_000]);
    expect(said).toEqual([expect.stringContaining("HTTP 503")]);
    // The same items under the same ids each time.
    expect(new Set(asked.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  });

  test("waits as long as the server asks for, and no longer than four seconds", async () => {
    const headers = ["1", "3600", "soon", "-5"];
    const { url } = await answering((n) => ({ status: 429, headers: { "retry-after": headers[n] ?? "" }, body: {} }));
    expect((await sent(url, 0)).waitsMs).toEqual([1_000, 4_000, 0, 0]);
  });

  test("ends with the first answer that counts", async () => {
    const { url, asked } = await answering((n) => (n < 2 ? { status: 502, text: "<html>" } : { body: TAKEN }));
    expect((await sent(url)).result).toBe("accepted");
    expect(asked).toHaveLength(3);
  });

  test("to a port that nobody listens on is unreachable, and says why", async () => {
    const { url, server } = await answering(() => ({ body: TAKEN }));
    await new Promise((resolve) => server.close(resolve));
    const { result, said } = await sent(url);
    expect(result).toBe("unreachable");
    expect(said).toEqual([expect.stringContaining("ECONNREFUSED")]);
  });

  test.each([
    ["a wrong token", 401, "unauthorized"],
    ["a token of another role", 403, "forbidden"],
    ["a server that has no such path", 404, "not_found"],
    ["a body that the server can't read", 400, "bad_request"],
  ])("with %s is refused at once", async (_what, status, code) => {
    const problem = { type: "t", title: "t", status, detail: "why it is so", code, hint: "h" };
    const { url, asked } = await answering(() => ({ status, body: problem }));
    const { result, said } = await sent(url);
    expect([result, asked.length]).toEqual(["refused", 1]);
    expect(said).toEqual([expect.stringContaining("why it is so")]);
  });

  test.each<[string, Reply]>([
    ["HTML with 200", { text: "<html>welcome</html>" }],
    ["HTML with 403", { status: 403, text: "<html>go away</html>" }],
    ["a redirect", { status: 302, headers: { location: "https://login.example.com" }, text: "" }],
    ["JSON of another kind", { body: { ok: true } }],
    ["an endless answer", { text: "x".repeat(200_000) }],
  ])("through something in between that answers %s is unreachable, not refused", async (_what, reply) => {
    const { url } = await answering(() => reply);
    expect((await sent(url)).result).toBe("unreachable");
  });

  test("of several items of which some are refused says so, and is refused where all are", async () => {
    const rejected = [{ index: 0, code: "version_not_found", message: "version a@1 is not registered" }];
    const some = await answering(() => ({ body: { accepted: 1, duplicates: 0, rejected } }));
    expect(await sent(some.url)).toMatchObject({ result: "accepted", said: [expect.stringContaining("a@1")] });
    const all = await answering(() => ({ body: { accepted: 0, duplicates: 0, rejected } }));
    expect(await sent(all.url)).toMatchObject({ result: "refused", said: [expect.stringContaining("a@1")] });
    const repeated = await answering(() => ({ body: { accepted: 0, duplicates: 1, rejected: [] } }));
    expect(await sent(repeated.url)).toMatchObject({ result: "accepted", said: [] });
  });

  test("never repeats the token, also one that no header can carry", async () => {
    const { url } = await answering(() => ({ body: TAKEN }));
    const { result, said } = await sent(url, 0, "fb_runtime_geheim\nx");
    expect(result).toBe("unreachable");
    expect(said.join()).not.toContain("geheim");
  });
});

interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly text?: string;
}

/** A server that answers the n-th request as it is told. */
async function answering(reply: (n: number) => Reply) {
  const asked: { method?: string; path?: string; authorization?: string; body: unknown }[] = [];
  const server: Server = createServer(async (request, response) => {
    const { status = 200, headers = {}, body, text } = reply(asked.length);
    asked.push({
      method: request.method,
      path: request.url,
      authorization: request.headers.authorization,
      body: JSON.parse(await read(request)),
    });
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(text ?? JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function read(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

/** Sends one item without waiting between attempts. */
async function sent(url: string, random = 0, token = "fb_runtime_a_b") {
  const waitsMs: number[] = [];
  const said: string[] = [];
  const say = (_key: string, message: string) => void said.push(message);
  const result = await sendFeedback([ITEM], {
    url: `${url}/v1/feedback`,
    token,
    random: () => random,
    log: { warn: say, error: say, resolved: () => undefined },
    sleep: async (ms) => void waitsMs.push(ms),
  });
  return { result, waitsMs, said };
}
