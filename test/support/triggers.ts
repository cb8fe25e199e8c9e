/** Sets triggers and fires them. */
import { createHmac } from "node:crypto";
import type { AuditEvent } from "@flagback/schemas";
import { expect } from "vitest";
import { ALIAS } from "./rollout.ts";
import type { TestServer } from "./server.ts";

export const FIRING = JSON.stringify({ reason: "checkout fails" });
export const ALERT = JSON.stringify({
  version: "4",
  alerts: [{ status: "firing", labels: { alertname: "ErrorRateHigh" }, annotations: {} }],
});

export interface Credentials {
  readonly id: string;
  readonly token: string;
  readonly signingSecret: string;
}

export interface Fired {
  readonly status: number;
  readonly code?: string;
  readonly detail?: string;
  readonly change?: { readonly status: string; readonly summary: string; readonly decisionId?: string };
  readonly retryAfter: string | null;
}

export async function setTrigger(server: TestServer, id: string, definition: object): Promise<Credentials> {
  expect((await server.call("PUT", `/v1/triggers/${id}`, definition)).status).toBe(200);
  return tokenFor(server, id);
}

export async function tokenFor(server: TestServer, trigger: string): Promise<Credentials> {
  const { body } = await server.call<{ token: { id: string }; secret: string; signingSecret: string }>(
    "POST",
    "/v1/tokens",
    { role: "trigger", name: "monitoring", trigger },
  );
  return { id: body.token.id, token: body.secret, signingSecret: body.signingSecret };
}

export async function fire(
  server: TestServer,
  id: string,
  headers: Record<string, string>,
  body: string | Buffer = FIRING,
): Promise<Fired> {
  const answer = await fetch(`${server.url}/v1/triggers/${id}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  const told = (await answer.json()) as Omit<Fired, "status" | "retryAfter">;
  return { ...told, status: answer.status, retryAfter: answer.headers.get("retry-after") };
}

export const bearer = ({ token }: Credentials) => ({ authorization: `Bearer ${token}` });

/** Signs as the specification says, without its package. */
export function signed(
  { signingSecret }: Credentials,
  id: string,
  body = FIRING,
  atMs = Date.now(),
): Record<string, string> {
  const at = Math.floor(atMs / 1_000);
  const key = Buffer.from(signingSecret.replace(/^whsec_/, ""), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${at}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": String(at), "webhook-signature": `v1,${signature}` };
}

export const ENGAGE = { action: { kind: "engage", key: "writes_disabled", scope: "agent=support-agent" } };
export const ROLLBACK = { format: "alertmanager", action: { kind: "rollback", alias: ALIAS, reason: "sla_breach" } };

export async function auditOf(server: TestServer, action: string): Promise<AuditEvent[]> {
  const { body } = await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit?limit=1000");
  return body.events.filter((event) => event.action === action);
}

export async function entriesOf(server: TestServer) {
  const { body } = await server.call<{
    killSwitches: { engaged: { owner: string; scope: string; reason: string }[] }[];
  }>("GET", "/v1/kill-switches");
  return body.killSwitches[0]?.engaged ?? [];
}
