/**
 * Who may do what, by hand: DESIGN 8 for each route that fastify really has, and for the upgrade. A route without its row
 * fails, and so does a row without its route.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "@flagback/schemas";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openServer, SUPPORT_AGENT, type TestServer } from "../support/server.ts";

type Caller = Role | "nobody" | "revoked" | "malformed";
const CALLERS: readonly Caller[] = [
  "runtime",
  "trigger",
  "viewer",
  "operator",
  "lead",
  "admin",
  "nobody",
  "revoked",
  "malformed",
];

/** Who is let in. Of the others, those with a valid token are answered 403 and the rest 401. */
const EVERYBODY = CALLERS;
const RUNTIMES: readonly Caller[] = ["runtime"];
const TRIGGERS: readonly Caller[] = ["trigger"];
const READERS: readonly Caller[] = ["viewer", "operator", "lead", "admin"];
const ON_CALL: readonly Caller[] = ["operator", "lead", "admin"];
const LEADS: readonly Caller[] = ["lead", "admin"];
const ADMINS: readonly Caller[] = ["admin"];

const ALIAS = "/v1/aliases/:name";
const SWITCH = "/v1/kill-switches/:key";
const REASON = { reason: "a test" };
const FLAG = { state: "ENABLED", variants: { on: true }, defaultVariant: "on" };
const TRIGGER = { action: { kind: "pause", alias: "support-agent" } };
const OUTCOME = { runId: "r", alias: "support-agent", version: "support-agent@2.3.3", status: "success" };

/** Route, who may call it, and a body that it takes. */
const TABLE: readonly (readonly [route: string, allowed: readonly Caller[], body?: unknown])[] = [
  ["GET /healthz", EVERYBODY],
  ["GET /readyz", EVERYBODY],
  ["GET /openapi.json", EVERYBODY],
  ["GET /metrics", READERS],

  ["UPGRADE /v1/stream", RUNTIMES],
  ["GET /v1/snapshot", RUNTIMES],
  ["POST /v1/outcomes", RUNTIMES, { outcomes: [OUTCOME] }],
  ["POST /v1/feedback", RUNTIMES, { feedback: [{ id: "f", ...OUTCOME }] }],

  ["GET /v1/versions", READERS],
  ["GET /v1/versions/:id", READERS],
  ["GET /v1/versions/:id/diff/:other", READERS],
  ["POST /v1/versions", LEADS, { id: "support-agent@3.0.0" }],
  ["POST /v1/versions/:id/retire", LEADS, REASON],

  ["GET /v1/aliases", READERS],
  [`GET ${ALIAS}`, READERS],
  [`PUT ${ALIAS}`, LEADS, {}],
  [`GET ${ALIAS}/rollout`, READERS],
  [`GET ${ALIAS}/gate`, READERS],
  [`GET ${ALIAS}/doctor`, READERS],
  [`POST ${ALIAS}/declare-stable`, LEADS, { version: "support-agent@2.3.3", ...REASON }],
  [`POST ${ALIAS}/rollout`, LEADS, { candidate: "support-agent@2.4.0" }],
  [`POST ${ALIAS}/advance`, LEADS, REASON],
  [`POST ${ALIAS}/roll-forward`, LEADS, { version: "support-agent@2.4.0", ...REASON }],
  [`POST ${ALIAS}/pause`, ON_CALL, REASON],
  [`POST ${ALIAS}/resume`, LEADS, REASON],
  [`POST ${ALIAS}/promote`, LEADS, REASON],
  [`POST ${ALIAS}/rollback`, ON_CALL, REASON],
  [`POST ${ALIAS}/lock`, ON_CALL, { version: "support-agent@2.4.0", ...REASON }],
  [`POST ${ALIAS}/unlock`, LEADS, { version: "support-agent@2.4.0", ...REASON }],
  ["GET /v1/releases", READERS],
  ["GET /v1/releases/:name", READERS],
  ["PUT /v1/releases/:name", LEADS, { versions: { "support-agent": "support-agent@2.4.0" } }],
  ["POST /v1/rollbacks", LEADS, { aliases: ["support-agent"], ...REASON }],
  ["POST /v1/apply", LEADS, SUPPORT_AGENT],
  ["GET /v1/config", READERS],

  ["GET /v1/kill-switches", READERS],
  [`PUT ${SWITCH}`, LEADS, {}],
  [`POST ${SWITCH}/engage`, ON_CALL, REASON],
  [`POST ${SWITCH}/release`, ON_CALL, REASON],
  ["POST /v1/stop", ON_CALL, REASON],

  ["GET /v1/flags", READERS],
  ["GET /v1/flags/:key", READERS],
  ["PUT /v1/flags/:key", LEADS, FLAG],
  ["DELETE /v1/flags/:key", LEADS],

  ["GET /v1/audit", READERS],
  ["GET /v1/incidents", READERS],
  ["GET /v1/incidents/:id", READERS],
  ["GET /v1/incidents/:id/report.md", READERS],
  ["POST /v1/incidents/:id/notes", ON_CALL, { text: "a note" }],
  ["POST /v1/incidents/:id/release", ON_CALL, REASON],
  ["GET /v1/decisions", READERS],
  ["GET /v1/decisions/:id", READERS],
  ["POST /v1/decisions/:id/approve", ON_CALL, REASON],
  ["POST /v1/decisions/:id/reject", ON_CALL, REASON],
  // Whoever holds the link: its signature is what lets them in, and without one there is nothing to find.
  ["GET /v1/decisions/:id/link", EVERYBODY],
  ["POST /v1/decisions/:id/link", EVERYBODY],
  ["GET /v1/drills", READERS],
  ["GET /v1/drills/:id", READERS],
  ["POST /v1/drills", LEADS, { alias: "support-agent" }],
  ["POST /v1/drills/:id/steps", LEADS, { steps: [] }],
  ["POST /v1/drills/:id/finish", LEADS, {}],
  ["GET /v1/decisions/:id/replay", READERS],
  ["GET /v1/feedback", READERS],
  ["GET /v1/runtimes", READERS],
  ["GET /v1/propagation/:revision", READERS],

  ["GET /v1/triggers", READERS],
  ["GET /v1/triggers/:id", READERS],
  ["PUT /v1/triggers/:id", ADMINS, TRIGGER],
  ["POST /v1/triggers/:id", TRIGGERS, {}],
  // After the others: it removes the one that they are about.
  ["DELETE /v1/triggers/:id", ADMINS],

  ["GET /v1/tokens", ADMINS],
  ["POST /v1/tokens", ADMINS, { role: "viewer", name: "made by the table" }],
  ["DELETE /v1/tokens/:id", ADMINS],
  ["GET /v1/webhooks", ADMINS],
  ["POST /v1/webhooks", ADMINS, { url: "https://hooks.example.com/alerts" }],
  ["DELETE /v1/webhooks/:id", ADMINS],
  ["POST /v1/webhooks/:id/rotate", ADMINS],
  ["POST /v1/webhooks/:id/test", ON_CALL],
  ["POST /v1/webhooks/:id/redeliver", ON_CALL, {}],
  ["GET /v1/webhooks/:id/deliveries", READERS],
  ["POST /v1/backup", ADMINS],
];

/** A `HEAD` tells whether and how much, so it is for whom the `GET` is for. */
const ROWS = TABLE.flatMap(([route, allowed, body]) => [
  { route, allowed, body },
  ...(route.startsWith("GET ") ? [{ route: route.replace("GET", "HEAD"), allowed, body }] : []),
]);

const PARAMS: Readonly<Record<string, string>> = {
  ":name": "support-agent",
  ":key": "writes_disabled",
  ":id": "0",
  ":other": "1",
  ":revision": "1",
};

let dataDir: string;
let server: TestServer;
let headersOf: Record<Caller, Record<string, string>>;
const registered = new Set<string>();

beforeAll(async () => {
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: { addHook(name: "onRoute", hook: (route: Route) => void): void } };
    fastify.addHook("onRoute", ({ method, url }) => {
      for (const each of [method].flat()) registered.add(`${each} ${url}`);
    });
  };
  subscribe("fastify.initialization", listen);
  dataDir = await mkdtemp(join(tmpdir(), "flagback-test-"));
  server = await openServer({ dataDir, limits: { authFailuresPerMinute: 10_000 } });
  unsubscribe("fastify.initialization", listen);
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("PUT", `/v1/triggers/${PARAMS[":id"]}`, TRIGGER);
  headersOf = await callers();
});

afterAll(async () => {
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

interface Route {
  readonly method: string | readonly string[];
  readonly url: string;
}

test("the table has a row for each route that is registered, and no other", () => {
  const rows = ROWS.map((row) => row.route).filter((route) => !route.startsWith("UPGRADE "));
  expect(rows.sort()).toEqual([...registered].sort());
  expect(new Set(rows).size).toBe(rows.length);
});

describe.each(ROWS)("$route", ({ route, allowed, body }) => {
  test.each(CALLERS)("%s is answered as the table says", async (caller) => {
    const { status, code } = await ask(route, headersOf[caller], body);
    if (allowed.includes(caller)) {
      expect([401, 403, 415, 429]).not.toContain(status);
      expect(status).toBeLessThan(500);
      return;
    }
    const hasToken = !["nobody", "revoked", "malformed"].includes(caller);
    expect(status).toBe(hasToken ? 403 : 401);
    // An answer to HEAD has no body.
    if (!route.startsWith("HEAD ")) expect(code).toBe(hasToken ? "forbidden" : "unauthorized");
  });
});

async function callers(): Promise<Record<Caller, Record<string, string>>> {
  const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
  const made = async (role: Role) => bearer(await server.token(role));
  const revoked = await server.call<{ secret: string; token: { id: string } }>("POST", "/v1/tokens", {
    role: "admin",
    name: "revoked",
  });
  await server.call("DELETE", `/v1/tokens/${revoked.body.token.id}`);
  return {
    runtime: await made("runtime"),
    trigger: bearer(
      (
        await server.call<{ secret: string }>("POST", "/v1/tokens", {
          role: "trigger",
          name: "trigger",
          trigger: PARAMS[":id"],
        })
      ).body.secret,
    ),
    viewer: await made("viewer"),
    operator: await made("operator"),
    lead: await made("lead"),
    admin: await made("admin"),
    nobody: {},
    revoked: bearer(revoked.body.secret),
    malformed: bearer("fb_admin_not-hex_at-all"),
  };
}

/** Sends what the row says and answers how it was met; the code of a problem document, where there is one. */
function ask(
  route: string,
  headers: Record<string, string>,
  body: unknown,
): Promise<{ status: number; code?: string }> {
  const [method = "", pattern = ""] = route.split(" ");
  const path = pattern.replace(/:[a-z]+/g, (name) => PARAMS[name] ?? name);
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const upgrade = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "flagback.v1",
  };
  return new Promise((resolve, reject) => {
    const sent = httpRequest(server.url + path, {
      method: method === "UPGRADE" ? "GET" : method,
      headers: {
        ...headers,
        ...(method === "UPGRADE" ? upgrade : {}),
        ...(text === "" ? {} : { "content-type": typeof body === "string" ? "text/yaml" : "application/json" }),
      },
    });
    sent.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0 });
    });
    sent.on("response", (response) => {
      let answer = "";
      response.on("data", (chunk) => {
        answer += chunk;
      });
      response.on("end", () => {
        const isProblem = (response.headers["content-type"] ?? "").includes("problem");
        resolve({ status: response.statusCode ?? 0, ...(isProblem && answer ? JSON.parse(answer) : {}) });
      });
    });
    sent.on("error", reject);
    sent.end(text);
  });
}
