/**
 * A real server on port 0 with a folder of its own, stopped when the test ends.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "@flagback/schemas";
import { type ServerOptions, startServer } from "flagback";
import { pino } from "pino";
import { onTestFinished } from "vitest";

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

export interface TestServer {
  readonly url: string;
  readonly dataDir: string;
  readonly adminToken: string;
  /** Calls the API as admin, or with another token. A string body is sent as YAML. */
  call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    options?: { readonly token?: string | null; readonly headers?: Record<string, string> },
  ): Promise<Answer<Body>>;
  /** Makes a token and answers its secret. */
  token(role: Role, aliases?: readonly string[]): Promise<string>;
  /** Stops the server and starts another on the same folder. */
  restart(): Promise<TestServer>;
  close(): Promise<void>;
}

export const SILENT = pino({ level: "silent" });

export async function testFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "flagback-test-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function testServer(
  options: Partial<ServerOptions> & { readonly adminToken?: string } = {},
): Promise<TestServer> {
  const server = await openServer({ ...options, dataDir: options.dataDir ?? (await testFolder()) });
  onTestFinished(() => server.close());
  return server;
}

/** The same for several tests: whoever opens it closes it. */
export async function openServer(
  options: Partial<ServerOptions> & { readonly dataDir: string; readonly adminToken?: string },
): Promise<TestServer> {
  const { dataDir } = options;
  const server = await startServer({ log: SILENT, port: 0, webhookAllow: ["127.0.0.1"], ...options });
  const adminToken = server.adminToken ?? options.adminToken ?? "";
  const call: TestServer["call"] = async <Body>(
    method: string,
    path: string,
    body?: unknown,
    {
      token = adminToken,
      headers = {},
    }: { readonly token?: string | null; readonly headers?: Record<string, string> } = {},
  ) => {
    const isText = typeof body === "string";
    const answer = await fetch(server.url + path, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": isText ? "text/yaml" : "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson = (answer.headers.get("content-type") ?? "").includes("json");
    return { status: answer.status, body: (isJson ? JSON.parse(text) : text) as Body, headers: answer.headers };
  };
  return {
    url: server.url,
    dataDir,
    adminToken,
    call,
    token: async (role, aliases = []) => {
      const made = await call<{ secret: string }>("POST", "/v1/tokens", { role, name: `test ${role}`, aliases });
      return made.body.secret;
    },
    restart: async () => {
      await server.close();
      return testServer({ ...options, dataDir, adminToken });
    },
    close: () => server.close(),
  };
}

/** How long a condition may take on a machine with other work; below vitest's limit, so that the description is told. */
const CONDITION_LIMIT_MS = 20_000;

/** Waits for a condition, polling the real world; fails with the description when it does not come. */
export async function eventually<Value>(
  description: string,
  probe: () => Value | undefined | false | null | Promise<Value | undefined | false | null>,
  timeoutMs = CONDITION_LIMIT_MS,
): Promise<Value> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false && value !== null) return value;
    if (performance.now() > deadline) throw new Error(`did not happen within ${timeoutMs} ms: ${description}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** An alias `support-agent` with a stable version, a candidate and a policy of one guardrail, ready for a rollout. */
export const SUPPORT_AGENT = `
versions:
  - {id: support-agent@2.3.3, kind: prompt, payload: {prompt: "Be helpful."}}
  - {id: support-agent@2.4.0, kind: prompt, payload: {prompt: "Be brief."}}
aliases:
  support-agent:
    stable: support-agent@2.3.3
    candidates: [{id: support-agent@2.3.3, weight: 100}, {id: support-agent@2.4.0, weight: 0}]
    policy:
      guardrails: [{metric: error_rate, max: 0.05}]
      stages: [{name: canary, percent: 50}, {name: full, percent: 100}]
`;
