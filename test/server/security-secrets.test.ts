/** Secrets are planted wherever they can be given, and then looked for wherever the server or the CLI says something. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { Role } from "@flagback/schemas";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const ROLES: readonly Role[] = ["viewer", "operator", "lead", "admin"];

test("no secret is in the log, in an answer, in the audit log, in the metrics or in the database", async () => {
  const logged: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      logged.push(String(chunk));
      done();
    },
  });
  const server = await testServer({ log: pino({ level: "trace" }, sink), limits: { authFailuresPerMinute: 5 } });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);

  // Planted: tokens of every role, and what webhooks carry in their user, path and query.
  const runtimeToken = await server.token("runtime");
  const tokens = [runtimeToken];
  for (const role of ROLES) tokens.push(await server.token(role));
  const secretPartOf = (token: string) => token.split("_")[3] ?? "";
  const hidden = { user: random(), path: random(), query: random() };
  const alerts: string[] = [];
  const receiver = await alertReceiver(alerts);
  for (const url of [
    `http://u:${hidden.user}@127.0.0.1:1/${hidden.path}?key=${hidden.query}`,
    `${receiver}/${hidden.path}?key=${hidden.query}`,
    `http://u:${hidden.user}@no-such-host.invalid/${hidden.path}`,
  ]) {
    expect((await server.call("POST", "/v1/webhooks", { url })).status).toBe(200);
  }
  const secrets = [...tokens, server.adminToken].map(secretPartOf).concat(Object.values(hidden));
  const stored = [...tokens, server.adminToken].map(secretPartOf);

  // Used well and used wrongly.
  const answers: string[] = [];
  const ask = async (...request: Parameters<TestServer["call"]>) => {
    const { body, headers, status } = await server.call(...request);
    answers.push(JSON.stringify([status, [...headers], body]));
  };
  for (const token of [...tokens, ...tokens.map((each) => `${each}0`)]) {
    for (const path of ["/v1/aliases", "/v1/audit", "/v1/runtimes", "/v1/tokens", "/v1/snapshot", "/metrics"]) {
      await ask("GET", path, undefined, { token });
    }
    await ask("GET", `/v1/nothing?token=${token}`, undefined, { token });
    await ask("GET", `/v1/audit?after=${token}`, undefined, { token });
    await ask("POST", "/v1/stop", undefined, { token, headers: { "content-type": "application/json" } });
    await ask("GET", "/v1/aliases", undefined, { token, headers: { "x-forwarded-for": token, origin: token } });
    await ask("GET", "/v1/aliases", undefined, { token, headers: { "x-request-id": token } });
  }
  await ask("GET", "/openapi.json");
  await ask("DELETE", "/v1/webhooks/none");
  const key = { headers: { "idempotency-key": "made-once" } };
  const made = { role: "viewer", name: "made once" };
  const first = await server.call<{ secret: string }>("POST", "/v1/tokens", made, key);
  await ask("POST", "/v1/tokens", made, key);
  secrets.push(secretPartOf(first.body.secret));
  stored.push(secretPartOf(first.body.secret));

  // A stream that is sent what is no frame: the problem is logged, the frame is not.
  const runtime = await RawRuntime.connect(server.url, runtimeToken);
  runtime.send(`${runtimeToken} is no JSON`);
  expect(await runtime.closeCode()).toBe(4400);
  answers.push(JSON.stringify(runtime.received));

  // Alerts go out, and two of the three webhooks can't be reached.
  await server.call("POST", "/v1/stop", { reason: "say so" });
  await eventually("the reachable one is told", () => alerts.length > 0);
  await eventually("the others are given up for now", () => logged.join("").split("was not delivered").length > 2);
  await ask("GET", "/v1/audit?limit=1000");
  await ask("GET", "/metrics");
  await ask("GET", "/v1/tokens");
  const { dataDir } = server;
  await server.close();

  expect(logged.join("")).toContain("closed a stream");
  expect(answers.join("")).toContain("token.create");
  for (const [where, text] of [
    ["log", logged.join("")],
    ["answers", answers.join("")],
    ["alerts", alerts.join("")],
  ] as const) {
    expect([where, secrets.filter((secret) => text.includes(secret))]).toEqual([where, []]);
  }
  // The database holds webhooks' addresses, which it must know; of tokens it holds hashes.
  const files = readdirSync(dataDir).map((name) => readFileSync(join(dataDir, name)));
  expect(stored.filter((secret) => files.some((file) => file.includes(secret)))).toEqual([]);
});

test.each([
  ["a server that is not there", ["--url", "http://127.0.0.1:1", "--token", "SECRET"]],
  ["an address with a password", ["--url", "http://me:SECRET@127.0.0.1:1"]],
  ["a token with a line break in it", ["--url", "http://127.0.0.1:1", "--token", "SECRET\nSECRET"]],
  ["a token that no header can hold", ["--url", "http://127.0.0.1:1", "--token", "SECRET€"]],
])("the command line does not repeat a secret: %s", async (_what, options) => {
  const secret = random();
  for (const json of [[], ["--json"]]) {
    const io = fakeIo({ env: { FLAGBACK_DEBUG: "1" } });
    const args = ["get", "aliases", ...json, ...options.map((each) => each.replaceAll("SECRET", secret))];
    expect([2, 3]).toContain(await runCli(args, io));
    expect(io.written.stderr).not.toBe("");
    expect(io.written.stderr + io.written.stdout).not.toContain(secret);
  }
});

function random(): string {
  return `s3cret${randomBytes(12).toString("hex")}`;
}

/** A webhook that keeps what it was told, headers included. */
async function alertReceiver(told: string[]): Promise<string> {
  const receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      told.push(JSON.stringify(request.headers) + text);
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  return `http://127.0.0.1:${(receiver.address() as { port: number }).port}`;
}
