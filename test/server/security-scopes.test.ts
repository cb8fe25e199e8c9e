/** A runtime's token that is scoped to aliases: what it sees of the others is nothing, and what it says of them counts nothing. */
import { applyDelta, documentsOf } from "@flagback/core/evaluation";
import type { RuntimeDocument } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import type { Engine } from "../../server/src/engine/engine.ts";
import { Frames } from "../../server/src/stream/frames.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { type TestServer, testServer } from "../support/server.ts";

const ALIASES = ["billing", "sales", "support"] as const;
const FILE = `
versions: [${ALIASES.map((name) => `{id: ${name}@1}, {id: ${name}@2, payload: {n: 2}}`).join(", ")}]
aliases:
${ALIASES.map((name) => `  ${name}: {stable: ${name}@1, policy: {guardrails: [{metric: error_rate, max: 0.05}]}}`).join("\n")}
`;

test("one change of several aliases reaches each scope as its own part of one delta, and others as an empty one", async () => {
  const server = await serving();
  const scopes = { one: ["sales"], two: ["billing", "support"], none: ["elsewhere"], all: [] };
  const runtimes = Object.entries(scopes).map(async ([name, aliases]) => {
    const runtime = await RawRuntime.connect(server.url, await server.token("runtime", aliases));
    return { name, runtime, keys: aliasesOf((await runtime.next("snapshot")).documents) };
  });
  const connected = await Promise.all(runtimes);
  expect(Object.fromEntries(connected.map(({ name, keys }) => [name, keys]))).toEqual({
    one: ["sales"],
    two: ["billing", "support"],
    none: [],
    all: ["billing", "sales", "support"],
  });
  const { revision } = await snapshotOf(server, await server.token("runtime"));
  // One transaction of two aliases, by a file.
  const changed = FILE.replace(/(billing|sales): (.*)\}\]\}\}/g, "$1: $2}], outcomeTimeout: 7s}}");
  expect(await server.call("POST", "/v1/apply", changed)).toMatchObject({ body: { applied: true } });
  for (const { name, runtime } of connected) {
    const delta = await runtime.next("delta");
    const seen = { one: ["sales"], two: ["billing"], none: [], all: ["billing", "sales"] }[name];
    expect([name, delta.from, delta.revision, aliasesOf(delta.put)]).toEqual([name, revision, revision + 1, seen]);
    runtime.send({ type: "applied", revision: delta.revision, appliedAfterMs: 1 });
    runtime.send({ type: "lease", id: 1 });
    // What it may not see does not hold up its leases.
    expect(await runtime.next("lease")).toMatchObject({ revision: delta.revision });
  }
});

test("whatever changes, a scoped runtime holds exactly its own of what an unscoped snapshot has", async () => {
  const server = await serving();
  const scope = ["billing", "support"];
  const token = await server.token("runtime", scope);
  const all = await server.token("runtime");
  const follower = await RawRuntime.connect(server.url, token);
  let held = documentsOf((await follower.next("snapshot")).documents);
  let { revision } = await follower.next("snapshot");
  const step = fc.oneof(
    fc
      .constantFrom(...ALIASES)
      .map((name) => ["POST", `/v1/aliases/${name}/rollout`, { candidate: `${name}@2` }] as const),
    fc.constantFrom(...ALIASES).map((name) => ["POST", `/v1/aliases/${name}/rollback`, { reason: "r" }] as const),
    fc
      .constantFrom(...ALIASES)
      .map(
        (name) =>
          ["POST", `/v1/aliases/${name}/unlock`, { version: `${name}@2`, reason: "r", rootCause: "c" }] as const,
      ),
    fc.constant(["POST", "/v1/stop", { reason: "r" }] as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      for (const [method, path, body] of steps) await server.call(method, path, body);
      const whole = await snapshotOf(server, all);
      while (revision < whole.revision) {
        const delta = await follower.next("delta", (each) => each.from === revision);
        held = applyDelta(held, delta);
        revision = delta.revision;
      }
      const own = whole.documents.filter(({ kind, key }) => kind !== "alias" || scope.includes(key));
      expect(Object.fromEntries(held)).toEqual(Object.fromEntries(documentsOf(own)));
      // The poll path tells the same, and nothing more.
      expect((await snapshotOf(server, token)).documents).toEqual(own);
    }),
    { numRuns: 20 },
  );
});

test("what a scoped token reports for other aliases is refused by name and counts nothing, on the stream, by HTTP and as feedback", async () => {
  const server = await serving();
  for (const name of ["sales", "support"]) {
    await server.call("POST", `/v1/aliases/${name}/rollout`, { candidate: `${name}@2` });
  }
  const token = await server.token("runtime", ["sales"]);
  const outcome = (alias: string, runId: string) => ({ alias, version: `${alias}@2`, runId, status: "failure" });
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: ["sales", "support"].map((alias) => ({ alias, version: `${alias}@2`, revision: 1_000, n: 5 })),
    items: ["support", "sales"].map((alias) => ({ ...outcome(alias, "stream"), assignedSeq: 1 })),
    overdue: [{ assignedSeq: 1, alias: "support", version: "support@2", limitMs: 1, n: 1 }],
  });
  expect((await runtime.next("outcomesAck")).rejected).toMatchObject([{ index: 0, code: "forbidden" }]);
  const posted = await server.call<{ accepted: number }>(
    "POST",
    "/v1/outcomes",
    { outcomes: [outcome("support", "http"), outcome("sales", "http")] },
    { token },
  );
  expect(posted.body).toMatchObject({ accepted: 1, rejected: [{ index: 0, code: "forbidden" }] });
  const feedback = ["support", "sales"].map((alias) => ({
    id: "f",
    runId: "r",
    alias,
    version: `${alias}@2`,
    quality: 0,
  }));
  const told = await server.call("POST", "/v1/feedback", { feedback }, { token });
  expect(told.body).toMatchObject({ accepted: 1, rejected: [{ index: 0, code: "forbidden" }] });
  const traffic = async (alias: string) => {
    const { body } = await server.call<{ traffic: { assigned: number }[] }>("GET", `/v1/aliases/${alias}/rollout`);
    return body.traffic.map(({ assigned }) => assigned).reduce((sum, each) => sum + each, 0);
  };
  expect(await traffic("support")).toBe(0);
  expect(await traffic("sales")).toBeGreaterThanOrEqual(5);
});

test("a step is encoded once for all tokens of one scope, in whatever order they name it, and once for each other scope", async () => {
  const server = await testServer();
  const scopes = [["b", "a"], ["a", "b", "a"], ["a"]];
  for (const aliases of scopes) await server.token("runtime", aliases);
  const { body } = await server.call<{ tokens: { role: string; aliases: string[] }[] }>("GET", "/v1/tokens");
  const kept = body.tokens.filter(({ role }) => role === "runtime").map(({ aliases }) => aliases);
  expect(kept).toEqual([["a", "b"], ["a", "b"], ["a"]]);

  const touchedSince = vi.fn(() => []);
  const history = { epoch: "e", head: { revision: 7, mark: "m" }, touchedSince };
  const frames = new Frames({ history } as unknown as Engine);
  const encoded = new Set(kept.flatMap((scope) => [frames.since(6, scope), frames.since(6, [...scope])]));
  expect(encoded.size).toBe(2);
});

test.each([
  ["another role", { role: "viewer", name: "n", aliases: ["sales"] }, "only a runtime token"],
  ["more aliases than it may have", { role: "runtime", name: "n", aliases: Array(257).fill("a") }, "256"],
])("a scope for %s is refused, because it would hold less than it says", async (_what, body, detail) => {
  const server = await testServer();
  const answer = await server.call<{ detail: string }>("POST", "/v1/tokens", body);
  expect(answer).toMatchObject({ status: 400, body: { code: "bad_request" } });
  expect(answer.body.detail).toContain(detail);
});

test("flagback token create --alias makes such a token, and the list shows its scope", async () => {
  const server = await serving();
  const env = { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken };
  const create = fakeIo({ env });
  const args = ["token", "create", "--role", "runtime", "--name", "billing", "--alias", "sales", "--alias", "billing"];
  expect(await runCli([...args, "--json"], create)).toBe(0);
  const runtime = await RawRuntime.connect(server.url, JSON.parse(create.written.stdout).secret);
  expect(aliasesOf((await runtime.next("snapshot")).documents)).toEqual(["billing", "sales"]);
  const list = fakeIo({ env });
  await runCli(["token", "list"], list);
  expect(list.written.stdout).toContain("billing,sales");
});

async function serving(): Promise<TestServer> {
  const server = await testServer();
  expect(await server.call("POST", "/v1/apply", FILE)).toMatchObject({ status: 200, body: { applied: true } });
  return server;
}

function aliasesOf(documents: readonly RuntimeDocument[]): string[] {
  return documents.flatMap(({ kind, key }) => (kind === "alias" ? [key] : [])).sort();
}

async function snapshotOf(server: TestServer, token: string) {
  const { body } = await server.call<{ revision: number; documents: RuntimeDocument[] }>(
    "GET",
    "/v1/snapshot",
    undefined,
    { token },
  );
  return body;
}
