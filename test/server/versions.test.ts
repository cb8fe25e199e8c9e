/**
 * The registry over HTTP: payload schemas, comparing, retiring.
 */
import type { Problem, Version, VersionDiff } from "@flagback/schemas";
import { expect, test } from "vitest";
import { SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const STABLE = "support-agent@2.3.3";
const CANDIDATE = "support-agent@2.4.0";
const SCHEMA = { type: "object", required: ["prompt"], properties: { prompt: { type: "string" } } };

test("a payload that breaks the alias's schema is refused by registration and by a file, with its place", async () => {
  const server = await registered();
  expect((await server.call("PUT", "/v1/aliases/support-agent", { payloadSchema: SCHEMA })).status).toBe(200);
  const broken = { id: "support-agent@3", payload: { prompt: ["Be kind."] } };
  const expected = {
    status: 400,
    body: { code: "payload_invalid", problems: ["support-agent@3: /prompt must be string"] },
  };
  expect(await server.call("POST", "/v1/versions", broken)).toMatchObject(expected);
  expect(await server.call("POST", "/v1/apply", { versions: [broken] })).toMatchObject(expected);
  expect((await server.call("GET", "/v1/versions/support-agent@3")).status).toBe(404);
  const right = { id: "support-agent@3", payload: { prompt: "Be kind." } };
  expect((await server.call("POST", "/v1/versions", right)).status).toBe(200);
});

test("a schema outlives a restart, and a file that sets it again changes nothing", async () => {
  const server = await registered();
  const file = { aliases: { "support-agent": { payloadSchema: SCHEMA } } };
  expect((await server.call("POST", "/v1/apply", file)).body).toMatchObject({ applied: true });
  const restarted = await server.restart();
  expect((await restarted.call("GET", "/v1/aliases/support-agent")).body).toMatchObject({ payloadSchema: SCHEMA });
  expect((await restarted.call("POST", "/v1/apply", file)).body).toMatchObject({ applied: false, plan: [] });
  const broken = { id: "support-agent@3", payload: {} };
  expect((await restarted.call<Problem>("POST", "/v1/versions", broken)).body.code).toBe("payload_invalid");
});

test("a schema is no secret that runtimes must learn: setting it takes no revision", async () => {
  const server = await registered();
  const { body } = await server.call<{ revision: number }>("PUT", "/v1/aliases/support-agent", {
    salt: "support-agent",
  });
  const put = await server.call<{ revision: number }>("PUT", "/v1/aliases/support-agent", { payloadSchema: "object" });
  expect(put.body.revision).toBe(body.revision);
});

test.each([
  ["a type that OpenFeature has not", "text", "bad_request"],
  ["a keyword that JSON Schema has not", { required: ["prompt"], propertys: {} }, "payload_schema_invalid"],
  ["a schema of more than 64 KiB", { description: "x".repeat(65_536) }, "bad_request"],
] as const)("%s is refused", async (_what, payloadSchema, code) => {
  const server = await registered();
  expect(await server.call("PUT", "/v1/aliases/support-agent", { payloadSchema })).toMatchObject({
    status: 400,
    body: { code },
  });
});

test("two versions are compared, whatever characters their ids have", async () => {
  const server = await registered();
  await server.call("POST", "/v1/versions", { id: "a:b/c+1", alias: "support-agent", payload: { prompt: "Be kind." } });
  const path = `/v1/versions/${encodeURIComponent(STABLE)}/diff/${encodeURIComponent("a:b/c+1")}`;
  const { body } = await server.call<VersionDiff>("GET", path);
  expect(body).toMatchObject({
    from: { id: STABLE, kind: "prompt" },
    to: { id: "a:b/c+1", kind: "agent" },
    isSamePayload: false,
    changes: [{ op: "replace", path: "/prompt", from: "Be helpful.", to: "Be kind." }],
  });
  expect(body.from).not.toHaveProperty("payload");
  const missing = await server.call<Problem>("GET", `/v1/versions/${encodeURIComponent(STABLE)}/diff/nothing@1`);
  expect(missing).toMatchObject({ status: 404, body: { code: "version_not_found" } });
});

test("retiring is refused for what a rollback may need, and done for what nobody does", async () => {
  const server = await registered();
  const retire = (id: string) =>
    server.call<Problem>("POST", `/v1/versions/${encodeURIComponent(id)}/retire`, { reason: "tidy" });
  expect((await retire(STABLE)).body).toMatchObject({ code: "version_in_use" });
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: CANDIDATE });
  expect((await retire(CANDIDATE)).body).toMatchObject({ code: "version_in_use" });
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "bad" });
  expect((await retire(CANDIDATE)).status).toBe(200);
  const { body } = await server.call<Version>("GET", `/v1/versions/${encodeURIComponent(CANDIDATE)}`);
  expect(body.retiredAt).toBeDefined();
});

async function registered(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  return server;
}
