/**
 * What shipped together goes back together: releases and coordinated rollbacks against a real server.
 */
import type { Alias, AuditEvent, ChangeAnswer, Incident, Problem, Release } from "@flagback/schemas";
import { expect, test } from "vitest";
import { RawRuntime } from "../support/raw-runtime.ts";
import { type TestServer, testServer } from "../support/server.ts";

const ALIASES = ["support-prompt", "support-tools"] as const;
const FILE = `
versions:
${ALIASES.flatMap((name) => ["1", "2"].map((n) => `  - {id: ${name}@${n}, kind: prompt, payload: {text: "${name} ${n}"}}`)).join("\n")}
aliases:
${ALIASES.map(
  (name) => `  ${name}:
    stable: ${name}@1
    candidates: [{id: ${name}@1, weight: 100}, {id: ${name}@2, weight: 0}]
    policy: {guardrails: [{metric: error_rate, max: 0.05}], stages: [{name: half, percent: 50}]}`,
).join("\n")}
releases:
  summer:
    notes: the new persona
    versions: {support-prompt: support-prompt@2, support-tools: support-tools@2}
`;

test("a release in a file is there after it was applied, and applying the file again changes nothing", async () => {
  const server = await applied();
  const { body, headers } = await server.call<Release>("GET", "/v1/releases/summer");
  expect(body).toEqual({
    name: "summer",
    notes: "the new persona",
    versions: { "support-prompt": "support-prompt@2", "support-tools": "support-tools@2" },
    edit: 1,
  });
  const again = await server.call<{ plan: unknown[] }>("POST", "/v1/apply?dryRun=true", FILE);
  expect(again.body.plan).toEqual([]);
  // What the server answers can be put back as it is.
  const put = { versions: body.versions, notes: body.notes };
  const same = await server.call<ChangeAnswer>("PUT", "/v1/releases/summer", put, {
    headers: { "if-match": headers.get("etag") ?? "" },
  });
  expect(same.body.change.status).toBe("unchanged");
  const restarted = await server.restart();
  expect((await restarted.call<{ releases: Release[] }>("GET", "/v1/releases")).body.releases).toEqual([body]);
});

test("a release of versions that nobody registered is refused with each of them", async () => {
  const server = await applied();
  const versions = { "support-prompt": "support-prompt@9", "support-tools": "support-prompt@1" };
  const { status, body } = await server.call<Problem>("PUT", "/v1/releases/winter", { versions });
  expect([status, body.code]).toEqual([404, "version_not_found"]);
  expect(body.problems).toHaveLength(2);
  expect((await server.call("PUT", "/v1/releases/winter", { versions: {} })).status).toBe(400);
  expect((await server.call("GET", "/v1/releases/winter")).body).toMatchObject({ code: "release_not_found" });
});

test("a lead rolls a release back in one transaction: one revision, a row and an incident for each alias, one id", async () => {
  const server = await applied();
  await startAll(server);
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const before = (await server.call<ChangeAnswer>("POST", "/v1/rollbacks", { release: "winter", reason: "x" })).body;
  expect(before).toMatchObject({ code: "release_not_found" });
  const operator = await server.token("operator");
  const byOperator = await server.call(
    "POST",
    "/v1/rollbacks",
    { release: "summer", reason: "x" },
    { token: operator },
  );
  expect(byOperator.status).toBe(403);

  const body = { release: "summer", reason: "the tools don't fit the prompt" };
  const { body: answer } = await server.call<ChangeAnswer>("POST", "/v1/rollbacks", body);
  const { coordinated } = answer.change;
  expect(coordinated?.aliases.map(({ alias, status }) => [alias, status])).toEqual(
    ALIASES.map((name) => [name, "done"]),
  );
  // Runtimes get it as one step.
  const delta = await runtime.next("delta", ({ put }) => put.some(({ key }) => key === "support-tools"));
  expect(delta.put.map(({ key }) => key).sort()).toEqual(["support-prompt", "support-tools", "writes_disabled"]);

  const { events } = (await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit?limit=100")).body;
  const rows = events.filter(({ action }) => action === "rollback");
  expect(rows.map(({ target, revision, coordinationId }) => [target, revision, coordinationId])).toEqual(
    ALIASES.map((name) => [`alias:${name}`, answer.revision, coordinated?.id]),
  );
  for (const row of rows) expect(row).toMatchObject({ reason: `manual: ${body.reason}`, decision: "stop" });
  const { incidents } = (await server.call<{ incidents: Incident[] }>("GET", "/v1/incidents")).body;
  expect(incidents.map(({ coordinated: link }) => link?.id)).toEqual([coordinated?.id, coordinated?.id]);
  const [first] = incidents;
  const report = await server.call<string>("GET", `/v1/incidents/${first?.id}/report.md`);
  expect(report.body).toContain(
    `Rolled back together with ${first?.coordinated?.incidents.find((id) => id !== first.id)}`,
  );

  // Again, also after a restart, it is done already.
  const restarted = await server.restart();
  const { body: repeated } = await restarted.call<ChangeAnswer>("POST", "/v1/rollbacks", body);
  expect(repeated.change).toMatchObject({ status: "already_rolled_back", coordinated: { id: coordinated?.id } });
  runtime.close();
});

test("where one alias can't go back, none does", async () => {
  const server = await applied();
  await server.call("POST", "/v1/aliases/support-prompt/rollout", { candidate: "support-prompt@2" });
  const { status, body } = await server.call<Problem>("POST", "/v1/rollbacks", { aliases: ALIASES, reason: "x" });
  expect(status).toBe(409);
  expect(body.problems).toEqual([expect.stringContaining("support-tools")]);
  const { body: alias } = await server.call<Alias>("GET", "/v1/aliases/support-prompt");
  expect(alias.rollout?.state).toBe("exposing");
  expect((await server.call<{ incidents: Incident[] }>("GET", "/v1/incidents")).body.incidents).toEqual([]);
});

test("one of several that was rolled back before stays as it was, and the others go", async () => {
  const server = await applied();
  await startAll(server);
  await server.call("POST", "/v1/aliases/support-tools/rollback", { reason: "first" });
  const { body } = await server.call<ChangeAnswer>("POST", "/v1/rollbacks", { aliases: ALIASES, reason: "second" });
  expect(body.change.coordinated?.aliases.map(({ status }) => status)).toEqual(["done", "already_rolled_back"]);
});

test.each([
  ["neither aliases nor a release", { reason: "x" }],
  ["both", { aliases: ["a"], release: "r", reason: "x" }],
  ["no alias", { aliases: [], reason: "x" }],
  ["no reason", { aliases: ["a"] }],
])("a coordinated rollback with %s is refused", async (_, body) => {
  const server = await testServer();
  expect((await server.call("POST", "/v1/rollbacks", body)).status).toBe(400);
});

async function applied(): Promise<TestServer> {
  const server = await testServer();
  const { status, body } = await server.call("POST", "/v1/apply", FILE);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return server;
}

async function startAll(server: TestServer): Promise<void> {
  for (const name of ALIASES) {
    const { status, body } = await server.call("POST", `/v1/aliases/${name}/rollout`, { candidate: `${name}@2` });
    if (status !== 200) throw new Error(JSON.stringify(body));
  }
}
