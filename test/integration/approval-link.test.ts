/**
 * The link in an alert: opening it decides nothing, however often; its form decides once; and nobody can make one up.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import type { PolicyInput } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { captureLog } from "../support/captured-log.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { CANDIDATE, ERROR_RATE, eventually, exposing, failures, type RolloutServer } from "../support/rollout.ts";
import type { testServer } from "../support/server.ts";

const PUBLIC_URL = "https://flags.example.com/flagback";
const ASKING = { ...ERROR_RATE, mode: "approval" } as const;

interface Alert {
  readonly kind: string;
  readonly text: string;
  readonly decision?: string;
  readonly link?: string;
}

test("a link that is opened many times decides nothing, and its form rolls back once, as the link", async () => {
  const { rollout, link, webhook } = await asked();
  for (let time = 0; time < 5; time++) {
    const page = await open(rollout, link);
    expect(page.status).toBe(200);
    expect(page.text).toContain(`Roll back ${CANDIDATE}?`);
    expect(page.text).toContain("10 of 10 runs");
    expect(page.text).toContain("the role operator");
  }
  expect((await send(rollout, link, "HEAD")).status).toBe(200);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000 });

  const decided = await answer(rollout, link, { answer: "approve", reason: "Grace, on call: it is bad" });
  expect(decided).toMatchObject({ status: 200, text: expect.stringContaining("Rollback triggered") });
  const row = await rollout.rolledBack();
  expect(row.actor).toEqual({ kind: "link", name: `link:${row.decisionId?.slice(0, 12)}`, id: webhook });
  expect(row.reason).toContain("Grace, on call: it is bad");

  // The same again, by the same link and by its other button.
  expect(await answer(rollout, link, { answer: "approve", reason: "again" })).toMatchObject({
    status: 200,
    text: expect.stringContaining("That was done already"),
  });
  expect(await answer(rollout, link, { answer: "reject", reason: "no, wait" })).toMatchObject({
    status: 409,
    text: expect.stringContaining("was approved by link:"),
  });
  expect((await open(rollout, link)).text).toContain("That was done already");
  expect(await rollout.audit("rollback")).toHaveLength(1);
});

test("a rejection by a link lets the rollout go on, and the link is used up by it", async () => {
  const { rollout, link } = await asked();
  expect((await answer(rollout, link, { answer: "reject", reason: "a known outage" })).status).toBe(200);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", hold: null });
  expect(await rollout.audit("decision.reject")).toMatchObject([{ actor: { kind: "link" }, reason: "a known outage" }]);
  for (const used of [await open(rollout, link), await answer(rollout, link, { answer: "approve", reason: "x" })]) {
    expect(used).toMatchObject({ status: 409, text: expect.stringContaining("This is decided already") });
  }
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a link ends with the deadline", async () => {
  const clock = new MovedClock();
  const { rollout, link } = await asked({ approval: { atDeadline: "continue" } }, { clock });
  clock.passSeconds(30 * 60 + 1);
  // Told before the brain's next look at its deadlines, or after it.
  const late = await answer(rollout, link, { answer: "approve", reason: "late" });
  expect(late.status).toBe(409);
  expect(late.text).toMatch(/Too late|This is decided already/);
  await eventually("the deadline is kept", async () => (await rollout.audit("decision.expire"))[0]);
  expect(await answer(rollout, link, { answer: "approve", reason: "late" })).toMatchObject({
    status: 409,
    text: expect.stringContaining("it was expired by brain"),
  });
  expect(await rollout.audit("rollback")).toEqual([]);
});

test("a link that was changed in any part is refused without a word about which", async () => {
  const { rollout, link, webhook } = await asked();
  const other = await hooked(rollout);
  const changed = (change: (url: URL) => void): string => {
    const url = new URL(link);
    change(url);
    return url.href;
  };
  const signature = new URL(link).searchParams.get("signature") ?? "";
  const forged = [
    changed(({ searchParams }) => searchParams.set("round", "2")),
    changed(({ searchParams }) => searchParams.set("webhook", other.webhook)),
    changed(({ searchParams }) => searchParams.delete("signature")),
    changed(({ searchParams }) => searchParams.set("signature", signature.slice(1))),
    changed(({ searchParams }) => searchParams.set("signature", flipped(signature))),
    changed((url) => {
      url.pathname = url.pathname.replace(
        /decisions\/./,
        (start) => `${start.slice(0, -1)}${start.endsWith("0") ? "1" : "0"}`,
      );
    }),
  ];
  for (const url of forged) {
    for (const page of [await open(rollout, url), await answer(rollout, url, { answer: "approve", reason: "x" })]) {
      expect(page).toMatchObject({ status: 404, text: expect.stringContaining("This link is not valid") });
      expect(page.text).not.toContain(signature);
    }
  }
  expect(await rollout.audit("rollback")).toEqual([]);
  // A webhook that is removed takes its links with it.
  await rollout.server.call("DELETE", `/v1/webhooks/${webhook}`);
  expect((await open(rollout, link)).status).toBe(404);
});

test("the page runs and loads nothing, is kept nowhere, and shows what it was given as text", async () => {
  const { rollout, link } = await asked();
  const { headers, text } = await open(rollout, link);
  const style = /<style>([\s\S]*?)<\/style>/.exec(text)?.[1] ?? "";
  expect(headers.get("content-security-policy")).toBe(
    `default-src 'none'; style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  );
  expect(headers.get("cache-control")).toBe("no-store");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
  expect(text).not.toMatch(/<script|javascript:|\son\w+=/i);
  const echoed = await answer(rollout, link, { answer: "reject", reason: "<img src=x onerror=alert(1)>" });
  expect(echoed.text).not.toContain("<img");
});

test("a form without an answer or a reason changes nothing and says what it lacks", async () => {
  const { rollout, link } = await asked();
  const forms: Record<string, string>[] = [
    { answer: "approve" },
    { reason: "x" },
    { answer: "approve", reason: " " },
    {},
  ];
  for (const form of forms) expect((await answer(rollout, link, form)).status).toBe(400);
  expect(await rollout.standing()).toMatchObject({ state: "exposing", hold: { cause: "approval" } });
});

test("a server without a public address sends no link", async () => {
  const { alert } = await asked({}, { publicUrl: undefined });
  expect(alert.link).toBeUndefined();
  expect(alert.text).not.toContain("http");
});

test("the signature is in no log and no audit row, and the key in no backup", async () => {
  const captured = captureLog("trace");
  const { rollout, link } = await asked({}, { log: captured.log });
  const signature = new URL(link).searchParams.get("signature") ?? "";
  await open(rollout, link);
  await open(rollout, `${link}x`);
  await answer(rollout, link, { answer: "reject", reason: "fine" });
  const said = JSON.stringify([captured.lines(), await rollout.audit(), await metrics(rollout)]);
  expect(said).not.toContain(signature);

  const backup = await fetch(`${rollout.server.url}/v1/backup`, {
    method: "POST",
    headers: { authorization: `Bearer ${rollout.server.adminToken}` },
  });
  const copy = gunzipSync(Buffer.from(await backup.arrayBuffer()));
  await rollout.server.close();
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(`${rollout.server.dataDir}/flagback.db`, { readonly: true });
  const key = database.prepare("SELECT value FROM meta WHERE key = 'linkKey'").pluck().get() as string;
  database.close();
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect(readFileSync(`${rollout.server.dataDir}/flagback.db`).includes(key)).toBe(true);
  expect(copy.includes(key)).toBe(false);
  expect(said).not.toContain(key);
});

/** A server that asks, and the alert of it. */
async function asked(policy: Partial<PolicyInput> = {}, options: Parameters<typeof testServer>[0] = {}) {
  const rollout = await exposing({ guardrails: [ASKING], ...policy }, { publicUrl: PUBLIC_URL, ...options });
  const { alerts, webhook } = await hooked(rollout);
  await (await rollout.runtime()).report({ candidate: failures(10) });
  const alert = await eventually("the alert comes", () => alerts.find(({ kind }) => kind === "approval"));
  expect(alert.text).toContain("Approval needed");
  if (alert.link !== undefined) {
    expect(alert.link.startsWith(`${PUBLIC_URL}/v1/decisions/${alert.decision}/link?`)).toBe(true);
    expect(alert.text).toContain(alert.link);
  }
  return { rollout, alert, webhook, link: alert.link ?? "" };
}

async function hooked(rollout: RolloutServer): Promise<{ readonly alerts: Alert[]; readonly webhook: string }> {
  const alerts: Alert[] = [];
  const receiver = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      alerts.push(JSON.parse(body));
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  const { port } = receiver.address() as AddressInfo;
  const made = await rollout.server.call<{ webhook: { id: string } }>("POST", "/v1/webhooks", {
    url: `http://127.0.0.1:${port}/`,
  });
  return { alerts, webhook: made.body.webhook.id };
}

interface Page {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

/** Asks the server itself for what a proxy at the public address would pass on. */
async function send(rollout: RolloutServer, link: string, method: string, body?: URLSearchParams): Promise<Page> {
  const { pathname, search } = new URL(link);
  const path = pathname.replace(new URL(PUBLIC_URL).pathname, "");
  const response = await fetch(`${rollout.server.url}${path}${search}`, { method, ...(body ? { body } : {}) });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

function open(rollout: RolloutServer, link: string): Promise<Page> {
  return send(rollout, link, "GET");
}

function answer(rollout: RolloutServer, link: string, form: Record<string, string>): Promise<Page> {
  return send(rollout, link, "POST", new URLSearchParams(form));
}

async function metrics(rollout: RolloutServer): Promise<unknown> {
  return (await rollout.server.call("GET", "/metrics")).body;
}

function flipped(signature: string): string {
  return `${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
}
