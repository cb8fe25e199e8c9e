/** The poll path at the server: what it answers, and that a runtime that polls counts as one that streams does. */
import { randomBytes } from "node:crypto";
import type { Propagation, Runtime, Snapshot } from "@flagback/schemas";
import { expect, test } from "vitest";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

/** A runtime that polls, written from the protocol alone. */
class Poller {
  readonly instance: string;
  readonly #server: TestServer;
  readonly #token: string;
  held: { readonly epoch: string; readonly revision: number; readonly mark: string } | null = null;
  #polls = 0;

  constructor(server: TestServer, token: string, instance = randomBytes(16).toString("hex")) {
    this.#server = server;
    this.#token = token;
    this.instance = instance;
  }

  /** Asks, and holds what it was answered. */
  async poll(held = this.held) {
    this.#polls += 1;
    const after = held === null ? "" : `after=${held.revision}&`;
    const answer = await this.#server.call<Snapshot>(
      "GET",
      `/v1/snapshot?${after}lease=${this.instance}-${this.#polls}`,
      undefined,
      {
        token: this.#token,
        headers: {
          "flagback-instance": this.instance,
          "flagback-sdk": "raw poller",
          ...(held && { "flagback-epoch": held.epoch, "flagback-mark": held.mark }),
        },
      },
    );
    expect(answer.headers.get("flagback-lease")).toBe(answer.status < 400 ? `${this.instance}-${this.#polls}` : null);
    if (answer.status === 200) {
      const { epoch, revision, mark } = answer.body;
      this.held = { epoch, revision, mark };
    }
    return answer;
  }
}

async function serving(options: Parameters<typeof testServer>[0] = {}) {
  const server = await testServer(options);
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const token = await server.token("runtime");
  return { server, token, poller: new Poller(server, token) };
}

const stop = async (server: TestServer) =>
  (await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "rehearsal" })).body.revision;
const spreadOf = async (server: TestServer, revision: number) =>
  (await server.call<Propagation>("GET", `/v1/propagation/${revision}`)).body;
const runtimesOf = async (server: TestServer) =>
  (await server.call<{ runtimes: Runtime[] }>("GET", "/v1/runtimes")).body.runtimes;

test("a change waits for a runtime that polls, and its next poll acknowledges it", async () => {
  const { server, poller } = await serving();
  expect((await poller.poll()).status).toBe(200);
  expect((await poller.poll()).status).toBe(304);
  const revision = await stop(server);
  expect(await spreadOf(server, revision)).toMatchObject({ runtimes: 1, acknowledged: 0, lapsed: 0 });
  await poller.poll();
  expect(poller.held?.revision).toBe(revision);
  expect(await spreadOf(server, revision)).toMatchObject({ acknowledged: 0 });
  await poller.poll();
  expect(await spreadOf(server, revision)).toMatchObject({ runtimes: 1, acknowledged: 1, lapsed: 0 });
});

test("a runtime that stops polling has lapsed once its lease is over", async () => {
  // Long enough that the change is made under it, also where the machine stands still for a moment.
  const { server, poller } = await serving({ leaseMs: 2_000 });
  await poller.poll();
  const revision = await stop(server);
  const spread = await eventually("it lapses", async () => {
    const each = await spreadOf(server, revision);
    return each.lapsed === 1 && each;
  });
  expect(spread).toMatchObject({ runtimes: 1, acknowledged: 0 });
  expect(await runtimesOf(server)).toEqual([]);
});

test("a runtime that polls is listed as one, until it streams again", async () => {
  const { server, token, poller } = await serving();
  await poller.poll();
  await poller.poll();
  expect(await runtimesOf(server)).toMatchObject([
    {
      instance: poller.instance,
      sdk: "raw poller",
      path: "poll",
      leaseLive: true,
      appliedRevision: poller.held?.revision,
    },
  ]);
  await RawRuntime.connect(server.url, token, { instance: poller.instance });
  const listed = await runtimesOf(server);
  expect(listed).toHaveLength(1);
  expect(listed[0]).not.toHaveProperty("path");
});

test("a poll of a runtime whose dead stream we still believe in prolongs its lease and counts as its acknowledgement", async () => {
  const { server, token, poller } = await serving();
  const dead = await RawRuntime.connect(server.url, token, { instance: poller.instance });
  dead.stopReading();
  const revision = await stop(server);
  await poller.poll();
  await poller.poll();
  expect(await spreadOf(server, revision)).toMatchObject({ runtimes: 1, acknowledged: 1, lapsed: 0 });
  expect(await runtimesOf(server)).toMatchObject([{ instance: poller.instance, leaseLive: true }]);
});

test("a revision of another history is nothing new, and acknowledges nothing, though its number fits", async () => {
  const { server, poller } = await serving();
  await poller.poll();
  const { held } = poller;
  if (!held) throw new Error("the poller holds nothing");
  const answer = await poller.poll({ ...held, mark: "0".repeat(16) });
  expect(answer.status).toBe(200);
  expect(answer.body.documents.map(({ key }) => key).sort()).toEqual(["support-agent", "writes_disabled"]);
  expect(await runtimesOf(server)).toMatchObject([{ appliedRevision: null }]);
});

test("an instance that belongs to another token is refused, and its owner's acknowledgements stay its own", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const intruder = new Poller(server, await server.token("runtime"), runtime.instance);
  expect(await intruder.poll()).toMatchObject({ status: 403, body: { code: "forbidden" } });
});

test("a poll without a nonce, or without saying who asks, is answered and promises nothing", async () => {
  const { server, token } = await serving();
  const anonymous = await server.call("GET", "/v1/snapshot?lease=n1", undefined, { token });
  expect(anonymous.status).toBe(200);
  const curious = await server.call("GET", "/v1/snapshot", undefined, {
    token,
    headers: { "flagback-instance": "a".repeat(32), "flagback-sdk": "x" },
  });
  expect(curious.status).toBe(200);
  expect(curious.headers.get("flagback-lease")).toBeNull();
  expect(await runtimesOf(server)).toEqual([]);
});

test("a scoped token is answered with its aliases only", async () => {
  const { server } = await serving();
  const answer = await new Poller(server, await server.token("runtime", ["other"])).poll();
  expect(answer.body.documents.map(({ key }) => key)).toEqual(["writes_disabled"]);
});
