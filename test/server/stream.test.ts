import { randomBytes } from "node:crypto";
import { applyDelta, changedKeys, documentsOf } from "@flagback/core/evaluation";
import { CLOSE, MAX_GROUP_RUNS, type RuntimeAlias } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

test("a runtime is told where the history stands, then everything, then each change as it is made", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const hello = await runtime.next("hello");
  expect(hello).toMatchObject({ heartbeatMs: 5_000, leaseMs: 15_000, outcomesThrough: 0 });
  const snapshot = await runtime.next("snapshot");
  expect(snapshot.revision).toBe(hello.revision);
  expect(snapshot.documents.map((document) => document.key).sort()).toEqual(["support-agent", "writes_disabled"]);
  await server.call("POST", "/v1/stop", { reason: "x" });
  const delta = await runtime.next("delta");
  expect(delta).toMatchObject({ from: hello.revision, revision: hello.revision + 1, delete: [] });
  expect(delta.put).toMatchObject([{ kind: "killSwitch", key: "writes_disabled", engaged: [{ scope: "*" }] }]);
});

test("a runtime that resumes gets exactly what it missed, or nothing", async () => {
  const { server, token } = await serving();
  const first = await RawRuntime.connect(server.url, token);
  const { epoch, revision, mark } = await first.next("snapshot");
  first.close();
  const same = await RawRuntime.connect(server.url, token, { resume: { epoch, revision, mark } });
  same.send({ type: "lease", id: 1 });
  await same.next("lease");
  expect(same.received.map((message) => message.type)).toEqual(["hello", "lease"]);

  await server.call("PUT", "/v1/flags/a", { state: "ENABLED", variants: { on: true }, defaultVariant: "on" });
  await server.call("DELETE", "/v1/flags/a");
  const behind = await RawRuntime.connect(server.url, token, { resume: { epoch, revision, mark } });
  expect(await behind.next("delta")).toMatchObject({
    from: revision,
    revision: revision + 2,
    put: [],
    delete: [{ kind: "flag", key: "a" }],
  });
});

test("a key that changed its kind is sent as both to a runtime that resumes across the change", async () => {
  const { server, token } = await serving();
  await server.call("PUT", "/v1/flags/refunds", { state: "ENABLED", variants: { on: true }, defaultVariant: "on" });
  const first = await RawRuntime.connect(server.url, token);
  const { epoch, revision, mark } = await first.next("snapshot");
  first.close();
  await server.call("DELETE", "/v1/flags/refunds");
  await server.call("PUT", "/v1/kill-switches/refunds", {});
  const second = await RawRuntime.connect(server.url, token, { resume: { epoch, revision, mark } });
  expect(await second.next("delta")).toMatchObject({
    put: [{ kind: "killSwitch", key: "refunds" }],
    delete: [{ kind: "flag", key: "refunds" }],
  });
});

test.each([
  ["another epoch", { epoch: "0".repeat(32) }],
  ["another mark", { mark: "0123456789abcdef" }],
  ["a revision that is still to come", { revision: 999 }],
])("a cursor with %s gets a snapshot", async (_what, wrong) => {
  const { server, token } = await serving();
  const first = await RawRuntime.connect(server.url, token);
  const { epoch, revision, mark } = await first.next("snapshot");
  const second = await RawRuntime.connect(server.url, token, { resume: { epoch, revision, mark, ...wrong } });
  expect((await second.next("snapshot")).revision).toBe(revision);
});

test("a revert A -> B -> A is sent, because cursors are revisions and not contents", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const { revision } = await runtime.next("snapshot");
  const body = { reason: "x", scope: "*" };
  await server.call("POST", "/v1/kill-switches/writes_disabled/engage", body);
  await runtime.next("delta", (delta) => delta.revision === revision + 1);
  await server.call("POST", "/v1/kill-switches/writes_disabled/release", body);
  const back = await runtime.next("delta", (delta) => delta.revision === revision + 2);
  expect(back.put).toMatchObject([{ key: "writes_disabled", engaged: [] }]);
});

test("applying the deltas that a runtime was sent gives what a snapshot gives", async () => {
  const { server, token } = await serving();
  const step = fc.oneof(
    fc
      .constantFrom("tenant=a", "tenant=b", "*")
      .map((scope) => ["POST", "/v1/kill-switches/writes_disabled/engage", { reason: "r", scope }] as const),
    fc
      .constantFrom("tenant=a", "tenant=b", "*")
      .map((scope) => ["POST", "/v1/kill-switches/writes_disabled/release", { reason: "r", scope }] as const),
    fc
      .tuple(fc.constantFrom("f", "g"), fc.boolean())
      .map(
        ([key, on]) =>
          ["PUT", `/v1/flags/${key}`, { state: "ENABLED", variants: { v: on }, defaultVariant: "v" }] as const,
      ),
    fc.constantFrom("f", "g").map((key) => ["DELETE", `/v1/flags/${key}`, undefined] as const),
    fc.constant(["POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" }] as const),
    fc.constant([
      "POST",
      "/v1/aliases/support-agent/roll-forward",
      { version: "support-agent@2.4.0", percent: 50, reason: "r" },
    ] as const),
    fc.constant(["POST", "/v1/aliases/support-agent/rollback", { reason: "r" }] as const),
    // The candidate's payload under other ids: revoked with it, also where it is registered after the rollback.
    fc
      .constantFrom("support-agent@2.4.0-b", "support-agent@2.4.0-c")
      .map((id) => ["POST", "/v1/versions", { id, payload: { prompt: "Be brief." } }] as const),
    fc.constant([
      "POST",
      "/v1/aliases/support-agent/unlock",
      { version: "support-agent@2.4.0", reason: "r", rootCause: "c" },
    ] as const),
  );
  const follower = await RawRuntime.connect(server.url, token);
  let held = documentsOf((await follower.next("snapshot")).documents);
  let revision = (await follower.next("snapshot")).revision;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      for (const [method, path, body] of steps) await server.call(method, path, body);
      const fresh = await RawRuntime.connect(server.url, token);
      const snapshot = await fresh.next("snapshot");
      fresh.close();
      while (revision < snapshot.revision) {
        const delta = await follower.next("delta", (each) => each.from === revision);
        held = applyDelta(held, delta);
        revision = delta.revision;
      }
      expect([...changedKeys(held, documentsOf(snapshot.documents))]).toEqual([]);
      expect(Object.fromEntries(held)).toEqual(Object.fromEntries(documentsOf(snapshot.documents)));
      const alias = held.get("support-agent") as RuntimeAlias;
      for (const slot of alias.allocation) expect(alias.revoked[slot.version]).toBeUndefined();
    }),
    { numRuns: 25 },
  );
});

test("a lease answers with a revision that the runtime was sent before", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const { revision } = await runtime.next("snapshot");
  const stopped = server.call("POST", "/v1/stop", { reason: "x" });
  for (let id = 1; id <= 50; id++) runtime.send({ type: "lease", id });
  await stopped;
  await runtime.next("lease", (lease) => lease.id === 50);
  let sent = revision;
  for (const message of runtime.received) {
    if (message.type === "delta") sent = message.revision;
    if (message.type === "lease") expect(message.revision).toBeLessThanOrEqual(sent);
  }
});

test("a token that is scoped to other aliases sees none of this one, but its cursor advances", async () => {
  const { server } = await serving();
  const token = await server.token("runtime", ["other-agent"]);
  const runtime = await RawRuntime.connect(server.url, token);
  const snapshot = await runtime.next("snapshot");
  expect(snapshot.documents.map((document) => document.key)).toEqual(["writes_disabled"]);
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  expect(await runtime.next("delta")).toMatchObject({ put: [], delete: [], revision: snapshot.revision + 1 });
});

test.each([
  ["a frame that is no JSON", "{nope", CLOSE.malformed],
  ["a lease without an id", { type: "lease" }, CLOSE.malformed],
  [
    "an acknowledgement of what was never sent",
    { type: "applied", revision: 9_999, appliedAfterMs: 1 },
    CLOSE.malformed,
  ],
  [
    "a group of more runs than one can hold",
    {
      type: "outcomes",
      seq: 1,
      assigned: [{ alias: "support-agent", version: "support-agent@2.3.3", revision: 1, n: MAX_GROUP_RUNS + 1 }],
      items: [],
    },
    CLOSE.malformed,
  ],
  ["a batch out of order", { type: "outcomes", seq: 7, assigned: [], items: [] }, CLOSE.sequenceGap],
])("%s closes that socket with its code, and no other", async (_what, frame, code) => {
  const { server, token } = await serving();
  const other = await RawRuntime.connect(server.url, token);
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.send(frame);
  expect((await runtime.next("error")).message).not.toBe("");
  expect(await runtime.closeCode()).toBe(code);
  other.send({ type: "lease", id: 1 });
  await other.next("lease");
});

test("a message of a type that v1 does not know is ignored", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.send({ type: "from-the-future", anything: 1 });
  runtime.send({ type: "lease", id: 3 });
  expect((await runtime.next("lease")).id).toBe(3);
});

test("an upgrade with an admin's token, without one, from a web page or at another path is refused", async () => {
  const { server, token } = await serving();
  const status = (path: string, headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const socket = new WebSocket(server.url.replace("http", "ws") + path, ["flagback.v1"], { headers });
      socket.on("unexpected-response", (_request, response) => resolve(response.statusCode ?? 0));
      socket.on("open", () => reject(new Error("it was admitted")));
      socket.on("error", () => undefined);
    });
  const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
  expect(await status("/v1/stream", bearer(server.adminToken))).toBe(403);
  expect(await status("/v1/stream", {})).toBe(401);
  expect(await status("/v1/stream", { ...bearer(token), origin: "https://example.com" })).toBe(403);
  expect(await status("/elsewhere", bearer(token))).toBe(404);
});

test("revoking a token closes its sockets", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const { body } = await server.call<{ tokens: { id: string; role: string }[] }>("GET", "/v1/tokens");
  await server.call("DELETE", `/v1/tokens/${body.tokens.find((each) => each.role === "runtime")?.id}`);
  expect(await runtime.closeCode()).toBe(CLOSE.unauthorized);
});

test("a new socket of an instance closes the old one; another token can't take the instance", async () => {
  const { server, token } = await serving();
  const instance = randomBytes(16).toString("hex");
  const old = await RawRuntime.connect(server.url, token, { instance });
  const current = await RawRuntime.connect(server.url, token, { instance });
  expect(await old.closeCode()).toBe(CLOSE.replaced);
  const thief = new RawRuntime(server.url, await server.token("runtime"), instance);
  await thief.opened();
  thief.send({ type: "hello", instance, sdk: "thief" });
  expect(await thief.closeCode()).toBe(CLOSE.unauthorized);
  current.send({ type: "lease", id: 1 });
  await current.next("lease");
});

test("a batch is acknowledged once it is durable, counted once however often it comes, and its bad items are named", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  const version = "support-agent@2.3.3";
  const item = { assignedSeq: 1, alias: "support-agent", version, status: "success" };
  const batch = {
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: "support-agent", version, revision: 1_000, n: 3 }],
    items: [
      { ...item, runId: "a" },
      { ...item, runId: "a" },
      { ...item, runId: "b", quality: 7 },
      { ...item, runId: "c" },
      { ...item, runId: "d" },
    ],
  };
  runtime.send(batch);
  const ack = await runtime.next("outcomesAck");
  expect(ack).toMatchObject({
    through: 1,
    rejected: [
      { seq: 1, index: 1, code: "duplicate" },
      { seq: 1, index: 2, code: "outcome_invalid" },
      { seq: 1, index: 4, code: "no_assignment" },
    ],
  });
  runtime.close();
  const again = await RawRuntime.connect(server.url, token, { instance: runtime.instance });
  expect((await again.next("hello")).outcomesThrough).toBe(1);
  again.send(batch);
  again.send({ type: "outcomes", seq: 2, assigned: [], items: [] });
  await again.next("outcomesAck", (each) => each.through === 2);
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  const { default: Database } = await import("better-sqlite3");
  await server.close();
  const database = new Database(`${server.dataDir}/flagback.db`);
  expect(database.prepare("SELECT assigned, settled FROM totals").all()).toEqual([{ assigned: 3, settled: 3 }]);
  database.close();
});

test("a runtime that vanished before it acknowledged is counted as lapsed once its lease is over", async () => {
  const server = await testServer({ leaseMs: 200 });
  const token = await server.token("runtime");
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.send({ type: "lease", id: 1 });
  await runtime.next("lease");
  const { body } = await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "x" });
  runtime.close();
  const spread = await eventually("it lapses", async () => {
    const answer = await server.call<{ lapsed: number; runtimes: number }>("GET", `/v1/propagation/${body.revision}`);
    return answer.body.lapsed === 1 && answer.body;
  });
  expect(spread).toMatchObject({ runtimes: 1, acknowledged: 0 });
});

test("what a runtime resumes from counts as applied, because the acknowledgement may have been lost with the socket", async () => {
  const { server, token } = await serving();
  const first = await RawRuntime.connect(server.url, token);
  await first.next("snapshot");
  const { body } = await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "x" });
  const delta = await first.next("delta");
  const { epoch } = await first.next("hello");
  const resume = { epoch, revision: delta.revision, mark: delta.mark };
  await RawRuntime.connect(server.url, token, { instance: first.instance, resume });
  const spread = await server.call("GET", `/v1/propagation/${body.revision}`);
  expect(spread.body).toMatchObject({ runtimes: 1, acknowledged: 1, lapsed: 0 });
});

test("a peer that does not read our close is cut off, and nothing that it sends counts any more", async () => {
  const { server, token } = await serving();
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.stopReading();
  const { body } = await server.call<{ tokens: { id: string; role: string }[] }>("GET", "/v1/tokens");
  await server.call("DELETE", `/v1/tokens/${body.tokens.find((each) => each.role === "runtime")?.id}`);
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: "support-agent", version: "support-agent@2.3.3", revision: 1_000, n: 1 }],
    items: [],
  });
  await eventually("it is gone", async () => {
    const answer = await server.call<{ runtimes: unknown[] }>("GET", "/v1/runtimes");
    return answer.body.runtimes.length === 0;
  });
  await server.close();
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(`${server.dataDir}/flagback.db`);
  expect(database.prepare("SELECT count(*) FROM totals").pluck().get()).toBe(0);
  database.close();
});

test("a half-open old socket of a runtime that is back does not excuse its hanging runs", async () => {
  const server = await testServer({ heartbeatMs: 100 });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT.replace("stages:", "outcomeTimeout: 1s\n      stages:"));
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  const token = await server.token("runtime");
  const old = await RawRuntime.connect(server.url, token);
  // Its network died: it reads and answers nothing any more.
  old.stopReading();
  const current = await RawRuntime.connect(server.url, token, { instance: old.instance });
  current.send({
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: "support-agent", version: "support-agent@2.4.0", revision: 1_000, n: 20 }],
    items: [],
  });
  await eventually("its runs are missing", async () => {
    const { body } = await server.call<{ traffic: { missing: number }[] }>("GET", "/v1/aliases/support-agent/rollout");
    return body.traffic.some((each) => each.missing === 20);
  });
});

test("a stopping server lets go who waits for the next audit row", async () => {
  const { server } = await serving();
  const { body } = await server.call<{ events: { id: number }[] }>("GET", "/v1/audit");
  const following = server.call<{ events: unknown[] }>("GET", `/v1/audit?after=${body.events.at(-1)?.id}&waitMs=30000`);
  await eventually("it waits", async () => (await server.call("GET", "/healthz")).status === 200);
  await server.close();
  expect((await following.catch(() => ({ body: { events: [] } }))).body.events).toEqual([]);
});

test("a stopping server says goodbye with a spread that grows with its connections", async () => {
  const { server, token } = await serving();
  const runtimes: RawRuntime[] = [];
  for (let n = 0; n < 3; n++) runtimes.push(await RawRuntime.connect(server.url, token));
  await server.close();
  // A second, and a millisecond for each of them: 10 000 come back over 11 s.
  for (const runtime of runtimes) expect((await runtime.next("goodbye")).spreadMs).toBe(1_003);
  for (const runtime of runtimes) expect(await runtime.closeCode()).toBe(CLOSE.goodbye);
});

async function serving(): Promise<{ readonly server: TestServer; readonly token: string }> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  return { server, token: await server.token("runtime") };
}
