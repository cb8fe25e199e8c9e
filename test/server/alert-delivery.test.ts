/** The order and the patience of deliveries, against a real outbox and a clock of the test's own. */
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { AlertSender, type Post } from "../../server/src/alerts/alert-sender.ts";
import { nextAttemptMs } from "../../server/src/alerts/retry-plan.ts";
import { RETRY_ALERTS_FOR_MS } from "../../server/src/store/outbox.ts";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { Store } from "../../server/src/store/store.ts";
import { createMetrics } from "../../server/src/telemetry/metrics.ts";
import { eventually, SILENT, testFolder } from "../support/server.ts";
import { audited, change, webhook } from "./store-contract/adapter.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Setup {
  readonly store: Store;
  readonly sender: AlertSender;
  /** Texts as they were sent, with whether each was taken. */
  readonly attempts: { readonly text: string; readonly isTaken: boolean; readonly atMs: number }[];
  raise(text: string, incident?: string): Promise<unknown>;
  /** Lets time pass, and everything be tried that is due then. */
  pass(ms: number): Promise<void>;
}

async function setUp(
  isTaken: (text: string, attempt: number) => boolean,
  attempted: (store: Store, id: string) => Promise<void> = async () => undefined,
): Promise<Setup> {
  let nowMs = Date.parse("2026-01-02T03:04:05.000Z");
  const store = openSqliteStore(join(await testFolder(), "flagback.db"));
  await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
  const attempts: { text: string; isTaken: boolean; atMs: number }[] = [];
  const post: Post = async ({ id, body }) => {
    await attempted(store, id);
    const { text } = JSON.parse(body) as { text: string };
    const taken = isTaken(text, attempts.length);
    attempts.push({ text, isTaken: taken, atMs: nowMs });
    return taken ? undefined : "the webhook answered 500";
  };
  const parts = { webhooks: new Map([["w", webhook("w")]]), metrics: createMetrics(), log: SILENT };
  const sender = new AlertSender({ store, post, now: () => nowMs, random: () => 0.5, ...parts });
  closers.push(
    () => store.close(),
    () => sender.close(),
  );
  const at = () => new Date(nowMs).toISOString();
  return {
    store,
    sender,
    attempts,
    raise: (text, incident) => store.commit(change({ at: at(), alerts: [{ kind: "rollback", text, incident }] })),
    pass: async (ms) => {
      nowMs += ms;
      // One wake tries until something fails, so what else is due needs another.
      await eventually("nothing is due", async () => {
        sender.wake();
        await new Promise(setImmediate);
        return (await store.dueAlerts("w", nowMs, 1)).length === 0;
      });
    },
  };
}

test("a webhook that answers 500 for an hour is told everything afterwards, in order and once", async () => {
  let isUp = false;
  const { attempts, raise, pass } = await setUp(() => isUp);
  for (const text of ["A1", "A2"]) await raise(text, "inc_a");
  for (let minute = 0; minute < 60; minute++) {
    if (minute === 20)
      for (const text of ["B1", "A3", "B2"]) await raise(text, text.startsWith("A") ? "inc_a" : "inc_b");
    await pass(MINUTE_MS);
  }
  expect(new Set(attempts.map(({ text }) => text))).toEqual(new Set(["A1", "B1"]));
  isUp = true;
  await pass(MINUTE_MS);
  const taken = attempts.filter(({ isTaken }) => isTaken).map(({ text }) => text);
  expect(taken.filter((text) => text.startsWith("A"))).toEqual(["A1", "A2", "A3"]);
  expect(taken.filter((text) => text.startsWith("B"))).toEqual(["B1", "B2"]);
  expect(taken).toHaveLength(5);
});

test("an alert that nobody takes for a day is given up, and then the next of its incident goes", async () => {
  const { store, attempts, raise, pass } = await setUp((text, attempt) => text !== "poison" || attempt > 2_000);
  await raise("poison", "inc_a");
  await raise("after it", "inc_a");
  await raise("of another", "inc_b");
  await pass(0);
  expect(attempts.at(-1)).toMatchObject({ text: "of another", isTaken: true });
  for (let minutes = 0; minutes < 24 * 60; minutes += 10) await pass(10 * MINUTE_MS);
  expect(attempts.at(-1)).toMatchObject({ text: "after it", isTaken: true });
  expect(await store.deadLetters()).toBe(1);
  const tries = attempts.filter(({ text }) => text === "poison").length;
  // Each time that somebody looked, and then no more.
  expect(tries).toBe(24 * 6 + 1);
  await pass(10 * DAY_MS);
  expect(attempts.filter(({ text }) => text === "poison")).toHaveLength(tries);
});

test("an alert of an incident is never sent before the one before it was taken or given up, whatever fails", async () => {
  // How often an alert is refused before it is taken: some never are.
  const refusals = fc.constantFrom(0, 0, 1, 3, Number.POSITIVE_INFINITY);
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ raise: fc.constantFrom("inc_a", "inc_b", undefined), refusals }) },
    { weight: 2, arbitrary: fc.record({ passMs: fc.constantFrom(0, 2_000, MINUTE_MS, 2 * DAY_MS) }) },
    { weight: 1, arbitrary: fc.constant({ redeliver: true as const }) },
  );
  let givenUp = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 20 }), async (steps) => {
      const left = new Map<string, number>();
      const isTaken = (text: string) => {
        const refused = left.get(text) ?? 0;
        left.set(text, refused - 1);
        return refused <= 0;
      };
      const { store, attempts, raise, pass } = await setUp(isTaken, async (at, id) => {
        const waiting = await at.readDeliveries({ webhookId: "w", state: "waiting", limit: 100 });
        const sent = waiting.find((each) => `flagback-${each.id}` === id);
        const before = waiting.filter((each) => each.incident === sent?.incident && each.id < (sent?.id ?? 0));
        expect(sent).toBeDefined();
        if (sent?.incident !== undefined) expect(before).toEqual([]);
      });
      let raised = 0;
      for (const each of steps) {
        if ("raise" in each) {
          raised += 1;
          left.set(`alert ${raised}`, each.refusals);
          await raise(`alert ${raised}`, each.raise);
        } else if ("passMs" in each) await pass(each.passMs);
        else {
          const dead = await store.deadLetters();
          const record = { audit: audited("webhook.redeliver") };
          expect(await store.redeliver({ webhookId: "w" }, 0, record)).toBe(dead);
        }
      }
      await pass(2 * DAY_MS);
      while ((await store.outboxDepth()) > 0) await pass(MINUTE_MS);
      const taken = attempts.filter((each) => each.isTaken).map(({ text }) => text);
      const dead = (await store.readDeliveries({ webhookId: "w", state: "dead", limit: 100 })).map(({ text }) => text);
      givenUp += dead.length;
      // At least once is exactly once where each answer arrives; and nothing is lost.
      const all = Array.from({ length: raised }, (_, n) => `alert ${n + 1}`);
      expect([...taken, ...dead].sort()).toEqual(all.sort());
    }),
    { numRuns: 25 },
  );
  expect(givenUp).toBeGreaterThan(0);
});

test("pauses double from a second to a minute, half of each at random, and a clock that jumps cuts no patience short", () => {
  const untilMs = RETRY_ALERTS_FOR_MS;
  const pause = (attempts: number, random: number) => nextAttemptMs({ attempts, retryUntilMs: untilMs }, 0, random);
  expect([1, 2, 3, 6, 7, 8, 1_000].map((attempts) => pause(attempts, 0))).toEqual([
    500, 1_000, 2_000, 16_000, 30_000, 30_000, 30_000,
  ]);
  expect([1, 2, 3, 6, 7].map((attempts) => pause(attempts, 1))).toEqual([1_000, 2_000, 4_000, 32_000, 60_000]);
  // Past its term: ten attempts at least.
  expect(nextAttemptMs({ attempts: 9, retryUntilMs: untilMs }, untilMs + DAY_MS, 0)).toBeGreaterThan(untilMs);
  expect(nextAttemptMs({ attempts: 10, retryUntilMs: untilMs }, untilMs, 0)).toBeNull();
  expect(nextAttemptMs({ attempts: 10_000, retryUntilMs: untilMs }, untilMs - 1, 0)).toBe(untilMs - 1 + 30_000);
});
