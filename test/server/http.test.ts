import { createServer } from "node:net";
import { type AuditEvent, ERROR_STATUS } from "@flagback/schemas";
import { startServer } from "flagback";
import { expect, onTestFinished, test } from "vitest";
import { eventually, SILENT, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

test("the first start makes one admin token, the second none", async () => {
  const server = await testServer();
  expect(server.adminToken).toMatch(/^fb_admin_[0-9a-f]{12}_[0-9a-f]{48}$/);
  await server.close();
  const again = await startServer({ dataDir: server.dataDir, port: 0, log: SILENT });
  onTestFinished(() => again.close());
  expect(again.adminToken).toBeUndefined();
  const answer = await fetch(`${again.url}/v1/tokens`, { headers: { authorization: `Bearer ${server.adminToken}` } });
  expect(answer.status).toBe(200);
});

test("health and readiness need no token, metrics needs a viewer's", async () => {
  const server = await testServer();
  expect((await server.call("GET", "/healthz", undefined, { token: null })).status).toBe(200);
  expect((await server.call("GET", "/readyz", undefined, { token: null })).body).toMatchObject({ status: "ready" });
  expect((await server.call("GET", "/metrics", undefined, { token: null })).status).toBe(401);
  const metrics = await server.call<string>("GET", "/metrics", undefined, { token: await server.token("viewer") });
  expect(metrics.body).toContain("flagback_revision 1");
});

test("a wrong, malformed or revoked token is unauthorized, with the way out", async () => {
  const server = await testServer();
  const viewer = await server.token("viewer");
  const { body } = await server.call<{ tokens: { id: string; role: string }[] }>("GET", "/v1/tokens");
  const id = body.tokens.find((token) => token.role === "viewer")?.id;
  expect(JSON.stringify(body)).not.toContain("secret");
  await server.call("DELETE", `/v1/tokens/${id}`);
  for (const token of [viewer, "nonsense", viewer.replace("viewer", "admin"), `${viewer.slice(0, -1)}0`, ""]) {
    const answer = await server.call<{ code: string; hint: string }>("GET", "/v1/aliases", undefined, { token });
    expect(answer).toMatchObject({
      status: 401,
      body: { code: "unauthorized", hint: expect.stringContaining("token create") },
    });
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
  }
});

test.each([
  ["an unknown alias", "POST", "/v1/aliases/nobody/rollout", {}, "alias_not_found", "support-agent"],
  [
    "an unregistered version",
    "POST",
    "/v1/aliases/support-agent/rollout",
    { candidate: "support-agent@9" },
    "rollback_plan_missing",
    "support-agent@9 is not registered",
  ],
  [
    "a stage that the policy lacks",
    "POST",
    "/v1/aliases/support-agent/rollout",
    { candidate: "support-agent@2.4.0", stage: "canry" },
    "stage_not_found",
    "canary",
  ],
  [
    "an unknown body key",
    "POST",
    "/v1/aliases/support-agent/rollout",
    { candidat: "x" },
    "unknown_key",
    "did you mean candidate?",
  ],
  ["a missing reason", "POST", "/v1/aliases/support-agent/rollback", {}, "bad_request", "reason"],
  [
    "a rollback without a rollout",
    "POST",
    "/v1/aliases/support-agent/rollback",
    { reason: "x" },
    "rollout_not_active",
    "kill engage",
  ],
  [
    "an unknown kill switch",
    "POST",
    "/v1/kill-switches/nothing/engage",
    { reason: "x" },
    "kill_switch_not_found",
    "writes_disabled",
  ],
  [
    "a scope that is none",
    "POST",
    "/v1/kill-switches/writes_disabled/engage",
    { reason: "x", scope: "agent" },
    "bad_request",
    "attribute=value",
  ],
  [
    "weights that don't sum",
    "PUT",
    "/v1/aliases/support-agent",
    { allocation: [{ version: "support-agent@2.3.3", weight: 5 }] },
    "weights_do_not_sum",
    "0.005 %",
  ],
  ["a flag without variants", "PUT", "/v1/flags/f", { state: "ENABLED", variants: {} }, "bad_request", "variant"],
  [
    "a policy key that is misspelt",
    "PUT",
    "/v1/aliases/support-agent",
    { policy: { guardrails: [], outcomeTimout: "5s" } },
    "unknown_key",
    "did you mean outcomeTimeout?",
  ],
  [
    "an unlock of nothing",
    "POST",
    "/v1/aliases/support-agent/unlock",
    { version: "support-agent@2.4.0", reason: "x" },
    "no_lock",
    "Nothing is locked",
  ],
  ["a path that is none", "GET", "/v1/nothing", undefined, "not_found", "openapi"],
] as const)("%s is refused with a code and a hint", async (_what, method, path, body, code, mentions) => {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const before = (await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit")).body.events.length;
  const answer = await server.call<{ code: string; detail: string; hint: string }>(method, path, body);
  expect(answer.status).toBe(ERROR_STATUS[code]);
  expect(answer.body).toMatchObject({ code, hint: expect.stringMatching(/./) });
  expect(`${answer.body.detail} ${answer.body.hint}`).toContain(mentions);
  expect(answer.headers.get("content-type")).toContain("application/problem+json");
  const after = (await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit")).body.events.length;
  expect(after).toBe(before);
});

test.each([
  ["malformed YAML", "aliases:\n  a: [1, 2\n", "malformed_yaml", /Line \d+, column \d+/],
  ["an unknown key", "aliases:\n  a: {stabel: a@1}\n", "unknown_key", /aliases\.a\.stabel.*did you mean stable\?/],
  [
    "an unknown policy key",
    "aliases:\n  a: {stable: a@1, policy: {guardrials: []}}\n",
    "bad_request",
    /did you mean guardrails\?/,
  ],
  [
    "weights that don't sum",
    "aliases:\n  a: {stable: a@1, candidates: [{id: a@1, weight: 60}, {id: a@2, weight: 30}]}\n",
    "weights_do_not_sum",
    /90 %/,
  ],
  ["JSON of another shape", "[1, 2]", "bad_request", /expected object/],
] as const)("a configuration with %s is refused whole", async (_what, yaml, code, message) => {
  const server = await testServer();
  const answer = await server.call<{ code: string; detail: string; problems?: string[] }>("POST", "/v1/apply", yaml);
  expect(answer.body).toMatchObject({ code });
  expect([answer.body.detail, ...(answer.body.problems ?? [])].join("\n")).toMatch(message);
  expect((await server.call("GET", "/v1/aliases")).body).toEqual({ aliases: [] });
});

test("a dry run shows the plan as a diff and changes nothing", async () => {
  const server = await testServer();
  const planned = await server.call<{ applied: boolean; plan: { target: string; note?: string }[] }>(
    "POST",
    "/v1/apply?dryRun=true",
    "rollback: {stable_version: agent@1, candidate_version: agent@2, triggers: {error_rate: 0.1}}",
  );
  expect(planned.body.applied).toBe(false);
  expect(planned.body.plan.map((step) => step.target)).toEqual([
    "alias:agent",
    "version:agent@1",
    "version:agent@2",
    "alias:agent",
    "alias:agent",
  ]);
  expect(planned.body.plan[1]?.note).toContain("empty payload");
  expect((await server.call("GET", "/v1/aliases")).body).toEqual({ aliases: [] });
});

test("a repeated signal answers already_rolled_back and changes nothing, also from many at once and after a restart", async () => {
  const server = await exposing();
  const signals = await Promise.all(
    Array.from({ length: 25 }, () =>
      server.call<Rolled>("POST", "/v1/aliases/support-agent/rollback", { reason: "bad" }),
    ),
  );
  const statuses = signals.map((answer) => answer.body.change.status);
  expect(statuses.filter((status) => status === "done")).toHaveLength(1);
  expect(statuses.filter((status) => status === "already_rolled_back")).toHaveLength(24);
  expect(new Set(signals.map((answer) => answer.body.change.decisionId)).size).toBe(1);

  const restarted = await server.restart();
  const again = await restarted.call<Rolled>("POST", "/v1/aliases/support-agent/rollback", { reason: "again" });
  expect(again.body.change).toMatchObject({
    status: "already_rolled_back",
    incident: signals[0]?.body.change.incident,
  });
  const { body } = await restarted.call<{ events: AuditEvent[] }>("GET", "/v1/audit?target=alias:support-agent");
  expect(body.events.filter((event) => event.action === "rollback")).toHaveLength(1);
  const incidents = await restarted.call<{ incidents: unknown[] }>("GET", "/v1/incidents");
  expect(incidents.body.incidents).toHaveLength(1);
});

test("If-Match guards a change against one that came meanwhile; a rollback needs none", async () => {
  const server = await exposing();
  const { body: alias } = await server.call<{ edit: number }>("GET", "/v1/aliases/support-agent");
  const stale = { headers: { "if-match": `"${alias.edit - 1}"` } };
  const refused = await server.call("PUT", "/v1/flags/f", { state: "ENABLED", variants: { on: true } });
  expect(refused.status).toBe(200);
  const conflict = await server.call(
    "POST",
    "/v1/aliases/support-agent/unlock",
    { version: "support-agent@2.4.0", reason: "x" },
    stale,
  );
  expect(conflict.body).toMatchObject({ code: "revision_conflict" });
  const rolled = await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "x" }, stale);
  expect(rolled.status).toBe(200);
});

test("of two changes that name the same edit of a document, one is refused, also where runtimes see neither", async () => {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const read = await server.call<{ edit: number; revision: number }>("GET", "/v1/aliases/support-agent");
  expect(read.headers.get("etag")).toBe(`"${read.body.edit}"`);
  const headers = { "if-match": read.headers.get("etag") ?? "" };
  const policy = (max: number) => ({ policy: { guardrails: [{ metric: "error_rate", max }] } });
  const one = await server.call("PUT", "/v1/aliases/support-agent", policy(0.1), { headers });
  const two = await server.call("PUT", "/v1/aliases/support-agent", policy(0.9), { headers });
  expect([one.status, two.status]).toEqual([200, 409]);
  expect(two.body).toMatchObject({ code: "revision_conflict", hint: expect.stringContaining("ETag") });
  const after = await server.call("GET", "/v1/aliases/support-agent");
  expect(after.body).toMatchObject({ edit: read.body.edit + 1, revision: read.body.revision });
});

test("If-Match names a document that is there: none that is still to be made, or that was made anew", async () => {
  const server = await testServer();
  const flag = { state: "ENABLED", variants: { on: true }, defaultVariant: "on" };
  for (const ifMatch of ['"1"', "*"]) {
    const refused = await server.call("PUT", "/v1/flags/f", flag, { headers: { "if-match": ifMatch } });
    expect(refused.body).toMatchObject({ code: "revision_conflict" });
  }
  await server.call("PUT", "/v1/flags/f", flag);
  const etag = (await server.call("GET", "/v1/flags/f")).headers.get("etag") ?? "";
  await server.call("DELETE", "/v1/flags/f");
  await server.call("PUT", "/v1/flags/f", flag);
  const stale = await server.call("DELETE", "/v1/flags/f", undefined, { headers: { "if-match": etag } });
  expect(stale.body).toMatchObject({ code: "revision_conflict" });
  const any = await server.call("DELETE", "/v1/flags/f", undefined, { headers: { "if-match": "*" } });
  expect(any.status).toBe(200);
});

test("an Idempotency-Key makes a repeated request the same request, and another request an error", async () => {
  const server = await testServer();
  const options = { headers: { "idempotency-key": "abc" } };
  const path = "/v1/kill-switches/writes_disabled/engage";
  const once = await server.call<Rolled>("POST", path, { reason: "x", scope: "tenant=a" }, options);
  await server.call("POST", "/v1/kill-switches/writes_disabled/release", { reason: "x", scope: "tenant=a" });
  const twice = await server.call<Rolled>("POST", path, { reason: "x", scope: "tenant=a" }, options);
  expect(twice.body.change.auditId).toBe(once.body.change.auditId);
  const { body } = await server.call<{ killSwitches: { engaged: unknown[] }[] }>("GET", "/v1/kill-switches");
  expect(body.killSwitches[0]?.engaged).toEqual([]);
  const other = await server.call("POST", path, { reason: "y" }, options);
  expect(other.body).toMatchObject({ code: "idempotency_key_reused" });
});

test("a reader of the audit log waits for the next row instead of asking again and again", async () => {
  const server = await testServer();
  const { body } = await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit");
  const last = body.events.at(-1)?.id ?? 0;
  const next = server.call<{ events: AuditEvent[] }>("GET", `/v1/audit?after=${last}&waitMs=20000`);
  await server.call("POST", "/v1/stop", { reason: "test" });
  expect((await next).body.events).toMatchObject([{ action: "stop", reason: "test" }]);
});

test("the poll path answers a snapshot, 304 when nothing is new, and echoes the lease's nonce", async () => {
  const server = await testServer();
  const token = await server.token("runtime");
  const first = await server.call<{ revision: number }>("GET", "/v1/snapshot?lease=n1", undefined, { token });
  expect(first.headers.get("flagback-lease")).toBe("n1");
  expect(first.headers.get("cache-control")).toBe("no-store");
  const second = await server.call("GET", `/v1/snapshot?after=${first.body.revision}&lease=n2`, undefined, { token });
  expect(second.status).toBe(304);
  expect(second.headers.get("flagback-lease")).toBe("n2");
  expect(second.headers.get("flagback-revision")).toBe(String(first.body.revision));
});

test("outcomes by HTTP are counted once for each run, and bad ones are named by their index", async () => {
  const server = await exposing();
  const token = await server.token("runtime");
  const good = { runId: "r1", alias: "support-agent", version: "support-agent@2.4.0", status: "failure" };
  const outcomes = [
    good,
    good,
    { ...good, runId: "r2", version: "support-agent@7" },
    { ...good, status: "odd" },
    { ...good, runId: "r3", durationMs: -1 },
  ];
  const answer = await server.call("POST", "/v1/outcomes", { outcomes }, { token });
  expect(answer.body).toMatchObject({
    accepted: 1,
    duplicates: 1,
    rejected: [
      { index: 2, code: "version_not_found" },
      { index: 3, code: "outcome_invalid" },
      { index: 4, code: "outcome_invalid", message: expect.stringContaining("durationMs") },
    ],
  });
  const restarted = await server.restart();
  const repeated = await restarted.call("POST", "/v1/outcomes", { outcomes: [good] }, { token });
  expect(repeated.body).toMatchObject({ accepted: 0, duplicates: 1 });
});

test("an alert reaches the webhook with the seed's text, and again when the webhook failed at first", async () => {
  const bodies: string[] = [];
  const { createServer: createHttpServer } = await import("node:http");
  const receiver = createHttpServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      bodies.push(text);
      response.writeHead(bodies.length === 1 ? 500 : 204).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void receiver.close());
  const server = await exposing();
  const { port } = receiver.address() as { port: number };
  await server.call("POST", "/v1/webhooks", { url: `http://127.0.0.1:${port}/hook` });
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "bad" });
  await eventually("the alert is delivered at the second attempt", () => bodies.length === 2);
  expect(bodies[1]).toBe(bodies[0]);
  expect(JSON.parse(bodies[1] ?? "")).toMatchObject({
    text: "Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=manual, stage=canary",
  });
});

test("a port in use is a clear error, and leaves the first token for the next try", async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  const { port } = blocker.address() as { port: number };
  const dataDir = await testFolder();
  await expect(startServer({ dataDir, port, log: SILENT })).rejects.toMatchObject({
    code: "port_in_use",
    hint: expect.stringContaining("--port"),
  });
  await new Promise<void>((resolve) => blocker.close(() => resolve()));
  const server = await startServer({ dataDir, port: 0, log: SILENT });
  onTestFinished(() => server.close());
  expect(server.adminToken).toBeDefined();
});

interface Rolled {
  readonly change: {
    readonly status: string;
    readonly decisionId?: string;
    readonly incident?: string;
    readonly auditId?: number;
  };
}

async function exposing(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  return server;
}
