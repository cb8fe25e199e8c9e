/** Input that must cost its sender a problem document and nobody else anything. */
import { connect } from "node:net";
import { ERROR_STATUS, MAX_JSON_DEPTH } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { type TestServer, testServer } from "../support/server.ts";

test.each([
  ["a path that no URL can have", "//", "HTTP/1.1 404 not_found"],
  ["a path that is another address", "//[", "HTTP/1.1 404 not_found"],
  ["a path that can't be decoded", "/v1/stream/%zz", "HTTP/1.1 404 not_found"],
])("an upgrade request with %s is refused on its own socket", async (_what, path, status) => {
  const server = await testServer();
  const answer = await raw(
    server,
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
  );
  expect(answer.split("\r\n")[0]).toBe(status);
  expect((await server.call("GET", "/healthz")).status).toBe(200);
});

test.each([
  ["what is no HTTP at all", "hello\r\n\r\n"],
  ["headers that are too long", `GET /healthz HTTP/1.1\r\nHost: x\r\nx: ${"y".repeat(20_000)}\r\n\r\n`],
])("%s is answered with a problem document", async (_what, text) => {
  const answer = await raw(await testServer(), text);
  const body = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
  expect(body).toMatchObject({ code: "bad_request", status: 400, hint: expect.stringMatching(/./) });
});

test.each([
  ["that can't be decoded", "/v1/aliases/%zz"],
  ["with a name that is longer than any", `/v1/versions/${"v".repeat(257)}`],
])("a path %s is answered with a problem document", async (_what, path) => {
  const server = await testServer();
  const answer = await server.call("GET", path);
  expect(answer.body).toMatchObject({ code: "bad_request", status: 400, hint: expect.stringMatching(/./) });
  expect(answer.headers.get("content-type")).toContain("application/problem+json");
});

test("a version id of any length that is allowed can stand in a path", async () => {
  const server = await testServer();
  const id = `agent@${"/+:".repeat(83)}1`.slice(0, 256);
  await server.call("POST", "/v1/versions", { id });
  expect((await server.call("GET", `/v1/versions/${encodeURIComponent(id)}`)).body).toMatchObject({ id });
});

test("an alias with the longest name can be rolled back by its path", async () => {
  const server = await testServer();
  const name = "a".repeat(128);
  await server.call("PUT", `/v1/aliases/${name}`, {});
  const answer = await server.call("POST", `/v1/aliases/${name}/rollback`, { reason: "x" });
  expect(answer.body).toMatchObject({ code: "rollout_not_active" });
});

test.each(["%0a%E2%82%AC", "%0d%0ax:y", "", "n".repeat(65)])(
  "a lease nonce that no header should hold is refused: %s",
  async (nonce) => {
    const server = await testServer();
    const token = await server.token("runtime");
    const answer = await server.call("GET", `/v1/snapshot?lease=${nonce}`, undefined, { token });
    expect(answer).toMatchObject({
      status: 400,
      body: { code: "bad_request", detail: expect.stringContaining("lease") },
    });
  },
);

const arrays = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const objects = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;

test.each([
  [
    "references that grow past all measure",
    `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c]\n`,
    "malformed_yaml",
  ],
  ["a reference to nothing", "flags: *nowhere", "malformed_yaml"],
  ["brackets that nest without end", `versions: ${arrays(100_000)}`, "malformed_yaml"],
  ["dashes that nest without end", "- ".repeat(100_000), "malformed_yaml"],
  ["a payload that contains itself", "versions: [{id: a@1, payload: &p {self: [*p, *p]}}]", "bad_request"],
  ["a payload over its limit", `versions: [{id: a@1, payload: {text: "${"x".repeat(262_144)}"}}]`, "payload_too_large"],
  ["a payload that nests too deeply", `versions: [{id: a@1, payload: ${arrays(MAX_JSON_DEPTH + 1)}}]`, "bad_request"],
] as const)("a file with %s is the caller's mistake", async (_what, yaml, code) => {
  const server = await testServer();
  const answer = await server.call("POST", "/v1/apply", yaml);
  expect(answer).toMatchObject({ status: ERROR_STATUS[code], body: { code } });
  expect((await server.call("GET", "/v1/versions")).body).toEqual({ versions: [] });
});

test.each([
  ["POST", "/v1/versions", (json: string) => `{"id": "a@1", "payload": ${json}}`],
  ["POST", "/v1/apply", (json: string) => `{"versions": [{"id": "a@1", "payload": ${json}}]}`],
  ["PUT", "/v1/flags/f", (json: string) => `{"state": "ENABLED", "variants": {"v": ${json}}}`],
  ["PUT", "/v1/flags/f", (json: string) => `{"state": "ENABLED", "variants": {"v": 1}, "targeting": {"t": ${json}}}`],
] as const)("%s %s refuses JSON that nests without end, and takes what nests a little", async (method, path, body) => {
  const server = await testServer();
  const send = async (json: string) => {
    const headers = { authorization: `Bearer ${server.adminToken}`, "content-type": "application/json" };
    const answer = await fetch(server.url + path, { method, headers, body: body(json) });
    return { status: answer.status, body: await answer.json() };
  };
  expect(await send(arrays(400_000))).toMatchObject({ status: 400, body: { code: "bad_request" } });
  expect(await send(objects(100_000))).toMatchObject({ status: 400, body: { code: "bad_request" } });
  // The flag around its variants and targeting has two levels of its own.
  expect((await send(arrays(MAX_JSON_DEPTH - 2))).status).toBe(200);
});

test("a payload over its limit is named with both numbers", async () => {
  const server = await testServer();
  const answer = await server.call("POST", "/v1/versions", { id: "a@1", payload: { text: "x".repeat(262_144) } });
  // {"text":"..."} is 11 bytes around the text.
  expect(answer).toMatchObject({ status: 413, body: { code: "payload_too_large" } });
  expect(answer.body.detail).toContain("has 262155 bytes; 262144 is the limit");
});

/** Everything that the server answers to some bytes until it closes the connection. */
function raw(server: TestServer, text: string): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  return new Promise((resolve, reject) => {
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
    socket.write(text);
  });
}
