/**
 * The contract of what people give and get: tokens, webhooks and their alerts, feedback; and of the database as a whole.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { testFolder } from "../../support/server.ts";
import {
  ALL,
  AT,
  asked,
  audited,
  change,
  checked,
  drill,
  everythingIn,
  feedback,
  LATER,
  type MakeAdapter,
  request,
  token,
  version,
  webhook,
} from "./adapter.ts";

export function peopleContract(make: MakeAdapter): void {
  test("a token is kept with its hash and the record of who made it, and one that is written again replaces it", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.putToken(token("first"));
    await store.putToken(token("second"), { audit: audited("token.create"), idempotency: request("once") });
    await store.putToken(token("second", { revokedAt: LATER }), { audit: audited("token.revoke") });
    store.close();
    const { tokens, audit, requests } = await everythingIn(adapter);
    expect(tokens).toEqual([token("first"), token("second", { revokedAt: LATER })]);
    expect(audit.map(({ action }) => action)).toEqual(["token.create", "token.revoke"]);
    expect(requests[0]?.auditId).toBe(audit[0]?.id);
  });

  test("a decision that people are asked for is kept as it was last written, and dropped with incidents of its age", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.commit(change({ asked: [asked("a"), asked("b")] }));
    await store.commit(change({ asked: [{ ...asked("a"), state: "rejected" }] }));
    store.close();
    const again = adapter.open();
    const kept = () => again.load({ history: ALL, runs: ALL }).asked;
    expect(kept()).toEqual([{ ...asked("a"), state: "rejected" }, asked("b")]);
    const [first, second] = kept();
    await again.prune({ what: "incidents", before: AT, except: [], rows: ALL });
    expect(kept()).toHaveLength(2);
    await again.prune({ what: "incidents", before: LATER, except: [second?.id ?? ""], rows: ALL });
    expect(kept().map(({ id }) => id)).toEqual([second?.id]);
    expect(first?.id).not.toBe(second?.id);
    again.close();
  });

  test("the key that links are signed with is made once, and is each database's own", async () => {
    const adapter = await make();
    const store = adapter.open();
    const key = await store.linkKey();
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(await store.linkKey()).toBe(key);
    store.close();
    const again = adapter.open();
    expect(await again.linkKey()).toBe(key);
    again.close();
    const other = (await make()).open();
    expect(await other.linkKey()).not.toBe(key);
    other.close();
  });

  test("a drill's record is replaced by what it has come to, and goes where there are too many", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.putDrill(drill(1));
    await store.putDrill(drill(2));
    await store.putDrill(drill(2, { state: "passed", endedAt: LATER }));
    await store.putDrill(drill(3), [1]);
    store.close();
    const { drills } = await everythingIn(adapter);
    expect(drills).toEqual([drill(2, { state: "passed", endedAt: LATER }), drill(3)]);
  });

  test("what became of the alerts about an incident is told webhook by webhook, oldest first", async () => {
    const store = (await make()).open();
    for (const id of ["w1", "w2"]) await store.putWebhook(webhook(id), { audit: audited("webhook.add") });
    await store.commit(change({ alerts: [{ kind: "rollback", text: "Rolled back.", incident: "inc_1" }] }));
    await store.commit(change({ alerts: [{ kind: "rollback", text: "Another.", incident: "inc_2" }] }));
    const [first] = await store.dueAlerts("w1", 0, ALL);
    const [second] = await store.dueAlerts("w2", 0, ALL);
    await store.alertDelivered(first?.id ?? 0, AT);
    await store.alertFailed(second?.id ?? 0, "it answered 500", 5);
    expect(await store.alertsOf("inc_1")).toEqual([
      { webhook: "w1", attempts: 1, deliveredAt: AT, error: null },
      { webhook: "w2", attempts: 1, deliveredAt: null, error: "it answered 500" },
    ]);
    expect(await store.alertsOf("inc_3")).toEqual([]);
    store.close();
  });

  test("an alert goes to the webhooks that are there when it is raised", async () => {
    const store = (await make()).open();
    const alert = (text: string) => change({ alerts: [{ kind: "stop", text }] });
    await store.commit(alert("nobody hears"));
    await store.putWebhook(webhook("w1"), { audit: audited("webhook.add") });
    await store.commit(alert("one hears"));
    await store.putWebhook(webhook("w2"), { audit: audited("webhook.add") });
    await store.commit(alert("both hear"));
    const texts = async (id: string) =>
      (await store.dueAlerts(id, 0, ALL)).map(({ body }) => (body as { text: string }).text);
    expect(await texts("w1")).toEqual(["one hears", "both hear"]);
    expect(await texts("w2")).toEqual(["both hear"]);
    expect(await store.outboxDepth()).toBe(3);
    store.close();
  });

  test("an alert is due until it is delivered, later where it failed, and never again where it was given up", async () => {
    const store = (await make()).open();
    await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
    for (const text of ["1", "2", "3", "4"]) await store.commit(change({ alerts: [{ kind: "stop", text }] }));
    const [first, second, third, fourth] = (await store.dueAlerts("w", 0, ALL)).map(({ id }) => id) as [
      number,
      number,
      number,
      number,
    ];
    expect([first, second, third, fourth]).toEqual([first, second, third, fourth].sort((a, b) => a - b));
    expect((await store.dueAlerts("w", 0, 2)).map(({ id }) => id)).toEqual([first, second]);
    expect(await store.lastDelivery("w")).toBeUndefined();
    await store.alertDelivered(first, AT);
    expect(await store.lastDelivery("w")).toEqual({ problem: null, deliveredAt: AT });
    await store.alertFailed(second, "it answered 500", 1_000);
    await store.alertFailed(third, "it answered 410", null);
    // One that has to be tried again says more of now than a later one that was given up.
    expect(await store.lastDelivery("w")).toEqual({ problem: "it answered 500", deliveredAt: null });
    expect(await store.lastDelivery("another")).toBeUndefined();
    const due = async (nowMs: number) =>
      (await store.dueAlerts("w", nowMs, ALL)).map(({ id, attempts }) => [id, attempts]);
    expect(await due(999)).toEqual([[fourth, 0]]);
    expect(await due(1_000)).toEqual([
      [second, 1],
      [fourth, 0],
    ]);
    expect(await store.outboxDepth()).toBe(2);
    await store.alertFailed(second, "it answered 500 again", null);
    expect(await store.lastDelivery("w")).toEqual({ problem: "it answered 410", deliveredAt: null });
    store.close();
  });

  test("an alert whose time was planned by a clock that was set back is due, and one of a removed webhook is not again", async () => {
    const store = (await make()).open();
    await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
    await store.commit(change({ alerts: [{ kind: "stop", text: "1" }] }));
    const [alert] = await store.dueAlerts("w", 0, ALL);
    const id = alert?.id as number;
    await store.alertFailed(id, "it answered 500", 1_000_000);
    // No retry is planned further ahead than a minute.
    expect(await store.dueAlerts("w", 940_000, ALL)).toEqual([]);
    expect(await store.dueAlerts("w", 939_999, ALL)).toMatchObject([{ id, attempts: 1 }]);
    await store.deleteWebhook("w", { audit: audited("webhook.remove") });
    await store.alertFailed(id, "the connection was cut", 5);
    expect(await store.outboxDepth()).toBe(0);
    store.close();
  });

  test("of one incident, and of one alias without an incident, only the oldest alert that waits is due", async () => {
    const store = (await make()).open();
    await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
    await store.putWebhook(webhook("other"), { audit: audited("webhook.add") });
    const raised = [
      { text: "A1", incident: "inc_a", alias: "agent" },
      { text: "hold", alias: "agent" },
      { text: "A2", incident: "inc_a", alias: "agent" },
      { text: "B1", incident: "inc_b", alias: "agent" },
      { text: "free 1" },
      { text: "resumed", alias: "agent" },
      { text: "free 2" },
    ];
    for (const each of raised) await store.commit(change({ alerts: [{ kind: "hold", ...each }] }));
    const due = async (id = "w") =>
      (await store.dueAlerts(id, 0, ALL)).map(({ id: row, body }) => [row, body.text] as const);
    const texts = async () => (await due()).map(([, text]) => text);
    const rowOf = async (wanted: string) => (await due()).find(([, text]) => text === wanted)?.[0] as number;
    expect(await texts()).toEqual(["A1", "hold", "B1", "free 1", "free 2"]);
    await store.alertFailed(await rowOf("A1"), "it answered 500", 60_000);
    expect(await texts()).toEqual(["hold", "B1", "free 1", "free 2"]);
    await store.alertDelivered(await rowOf("hold"), AT);
    expect(await texts()).toEqual(["B1", "free 1", "resumed", "free 2"]);
    const [first] = await store.dueAlerts("w", 60_000, 1);
    await store.alertFailed(first?.id as number, "it answered 500", null);
    expect(await texts()).toEqual(["A2", "B1", "free 1", "resumed", "free 2"]);
    expect((await due("other")).map(([, text]) => text)).toEqual(["A1", "hold", "B1", "free 1", "free 2"]);
    store.close();
  });

  test("what became of alerts is read newest first, and dead letters wait again when somebody asks", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
    const incident = "inc_a";
    for (const text of ["1", "2", "3"]) await store.commit(change({ alerts: [{ kind: "rollback", text, incident }] }));
    const next = async () => (await store.dueAlerts("w", 0, 1))[0]?.id as number;
    const first = await next();
    await store.alertDelivered(first, LATER);
    const second = await next();
    await store.alertFailed(second, "it answered 410", null);
    const states = async (state?: "waiting" | "delivered" | "dead") =>
      (await store.readDeliveries({ webhookId: "w", state, limit: ALL })).map((each) => [each.text, each.state]);
    expect(await states()).toEqual([
      ["3", "waiting"],
      ["2", "dead"],
      ["1", "delivered"],
    ]);
    expect(await store.readDeliveries({ webhookId: "w", state: "dead", limit: ALL })).toMatchObject([
      {
        id: second,
        kind: "rollback",
        incident,
        createdAt: AT,
        attempts: 1,
        problem: "it answered 410",
        deliveredAt: null,
      },
    ]);
    expect(await store.deadLetters()).toBe(1);
    expect(await store.readDeliveries({ webhookId: "w", limit: 1 })).toHaveLength(1);
    const record = { audit: audited("webhook.redeliver") };
    expect(await store.redeliver({ webhookId: "w", id: first }, 5_000, record)).toBe(0);
    expect(await store.redeliver({ webhookId: "nobody" }, 5_000, record)).toBe(0);
    expect(await store.redeliver({ webhookId: "w" }, 5_000, record)).toBe(1);
    // Before the one that came after it, for another day of tries.
    expect(await store.dueAlerts("w", 0, ALL)).toMatchObject([{ id: second, attempts: 0, retryUntilMs: 86_405_000 }]);
    expect(await store.deadLetters()).toBe(0);
    store.close();
    const { audit } = await everythingIn(adapter);
    expect(audit.filter(({ action }) => action === "webhook.redeliver")).toHaveLength(1);
  });

  test("with a webhook its waiting alerts go; one that was not there is not removed, and nothing is recorded", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
    await store.commit(change({ alerts: [{ kind: "stop", text: "1" }] }));
    expect(await store.deleteWebhook("w", { audit: audited("webhook.remove") })).toBe(true);
    expect(await store.deleteWebhook("w", { audit: audited("webhook.remove again") })).toBe(false);
    expect(await store.dueAlerts("w", Number.MAX_SAFE_INTEGER, ALL)).toEqual([]);
    expect(await store.outboxDepth()).toBe(0);
    store.close();
    const { webhooks, audit } = await everythingIn(adapter);
    expect(webhooks).toEqual([]);
    expect(audit.map(({ action }) => action)).toEqual(["webhook.add", "change", "webhook.remove"]);
  });

  test("feedback is stored once for each id and alias, and read newest first, page by page", async () => {
    const store = (await make()).open();
    expect(await store.putFeedback([feedback("a"), feedback("b"), feedback("a")])).toEqual({
      duplicates: 1,
      dropped: 0,
    });
    const others = [feedback("b", { quality: 0 }), feedback("a", { alias: "other", version: "other@1" })];
    expect(await store.putFeedback(others)).toEqual({ duplicates: 1, dropped: 0 });
    const newest = await store.readFeedback({ limit: 2 });
    expect(newest.map(({ alias, id }) => [alias, id])).toEqual([
      ["other", "a"],
      ["agent", "b"],
    ]);
    const rest = await store.readFeedback({ limit: 2, before: newest[1]?.number });
    expect(rest.map(({ alias, id }) => [alias, id])).toEqual([["agent", "a"]]);
    const ids = async (query: object) => (await store.readFeedback({ limit: ALL, ...query })).map(({ id }) => id);
    expect(await ids({ alias: "agent" })).toEqual(["b", "a"]);
    expect(await ids({ version: "other@1" })).toEqual(["a"]);
    expect(await ids({ runId: "run-b" })).toEqual(["b"]);
    store.close();
  });

  test("counts of synthetic checks are kept by alias, and the newest replace those before", async () => {
    const adapter = await make();
    const store = adapter.open();
    for (const each of [checked("agent", 1), checked("other", 1), checked("agent", 2)]) await store.putChecks(each);
    store.close();
    expect((await everythingIn(adapter)).checks).toEqual([checked("agent", 2), checked("other", 1)]);
  });

  test("feedback is summed up by version, and a version without a quality has none", async () => {
    const store = (await make()).open();
    await store.putFeedback([
      feedback("a", { quality: 1 }),
      feedback("b", { quality: 0.5 }),
      feedback("c", { quality: undefined, status: "failure" }),
      feedback("d", { version: "agent@2", quality: undefined, status: "failure" }),
    ]);
    // (1 + 0.5) / 2, because one of the three named none.
    expect(await store.feedbackSummaries("agent")).toEqual([
      { version: "agent@1", count: 3, quality: 0.75 },
      { version: "agent@2", count: 1, quality: null },
    ]);
    expect(await store.feedbackSummaries("nobody")).toEqual([]);
    store.close();
  });

  test("a database that was probed holds what it held", async () => {
    const adapter = await make();
    const before = await everythingIn(adapter);
    const store = adapter.open();
    await store.probe(100_000);
    await store.probe(0);
    expect(await store.sizeBytes()).toBeGreaterThan(0);
    store.close();
    expect(await everythingIn(adapter)).toEqual(before);
  });

  test("a copy of it while it is written holds all that was committed before, and the database goes on", async () => {
    const adapter = await make();
    const store = adapter.open();
    for (let n = 0; n < 50; n++) await store.commit(change({ versions: [version(`agent@${n}`, "x".repeat(5_000))] }));
    const file = join(await testFolder(), "copy.db");
    const copying = store.copyTo(file);
    await store.commit(change({ versions: [version("agent@meanwhile")] }));
    await copying;
    await store.commit(change({ versions: [version("agent@later")] }));
    store.close();
    const idsIn = async (of: typeof adapter) => (await everythingIn(of)).versions.map(({ id }) => id);
    const inCopy = await idsIn(await make(file));
    expect(inCopy.filter((id) => /@\d+$/.test(id))).toHaveLength(50);
    expect(inCopy).not.toContain("agent@later");
    expect(await idsIn(adapter)).toHaveLength(52);
  });

  test("it is closed safely twice, and takes nothing any more", async () => {
    const adapter = await make();
    const store = adapter.open();
    store.close();
    store.close();
    await expect(store.appendAudit(audited("late"))).rejects.toThrow();
    expect((await everythingIn(adapter)).audit).toEqual([]);
  });
}
