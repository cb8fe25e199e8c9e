/**
 * Any sequence of calls, restarts and broken writes leaves what a plain model of the port says.
 */
import type { AuditEvent, KillSwitch, StoredFeedback, Version } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type LedgerTotals, NO_LEDGER_WRITES } from "../../../server/src/store/ledger-writes.ts";
import type { HistoryEntry, Store, StoredToken, StoredWebhook } from "../../../server/src/store/store.ts";
import {
  type Adapter,
  ALL,
  AT,
  audited,
  change,
  everythingIn,
  feedback,
  killSwitch,
  type MakeAdapter,
  MOMENTS,
  type Moment,
  revised,
  token,
  version,
  webhook,
} from "./adapter.ts";

/** What a store holds, as plainly as it can be said. */
class Model {
  revision = 0;
  tick = 0;
  readonly history: HistoryEntry[] = [];
  readonly versions = new Map<string, Version>();
  readonly killSwitches = new Map<string, KillSwitch>();
  readonly tokens = new Map<string, StoredToken>();
  readonly webhooks = new Map<string, StoredWebhook>();
  readonly instances = new Map<string, number>();
  readonly totals = new Map<string, LedgerTotals>();
  readonly runs: string[] = [];
  audit: string[] = [];
  readonly feedback = new Map<string, StoredFeedback>();
  /** In the order in which they were raised. */
  readonly alerts: { readonly webhook: string; readonly text: string; state: "waits" | "delivered" | "given up" }[] =
    [];
}

/** One call: what it does to the store, and to the model. */
type Call =
  | {
      readonly kind: "change";
      readonly key: string;
      readonly version?: string;
      readonly alert: boolean;
      readonly skip: number;
    }
  | { readonly kind: "count"; readonly instance: string; readonly settled: number; readonly runs: number }
  | { readonly kind: "token" | "webhook" | "webhook.remove" | "feedback"; readonly id: string }
  | { readonly kind: "deliver" | "give up"; readonly webhook: string }
  | { readonly kind: "prune" };

const name = fc.constantFrom("a", "b", "c");
const call: fc.Arbitrary<Call> = fc.oneof(
  fc.record({
    kind: fc.constant("change" as const),
    key: name,
    version: fc.option(name, { nil: undefined }),
    alert: fc.boolean(),
    skip: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant("count" as const),
    instance: name,
    settled: fc.nat({ max: 99 }),
    runs: fc.nat({ max: 3 }),
  }),
  fc.record({
    kind: fc.constantFrom("token" as const, "webhook" as const, "webhook.remove" as const, "feedback" as const),
    id: name,
  }),
  fc.record({ kind: fc.constantFrom("deliver" as const, "give up" as const), webhook: name }),
  fc.record({ kind: fc.constant("prune" as const) }),
);

/** A call, the moment at which the disk fails it first, and whether the server starts again after it. */
const step = fc.record({
  call,
  failsAt: fc.option(fc.constantFrom(...MOMENTS), { nil: undefined, freq: 3 }),
  restarts: fc.nat({ max: 4 }).map((n) => n === 0),
});

export function modelContract(make: MakeAdapter): void {
  test("what was acknowledged is there once, and what failed is not", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const adapter = await make();
        const model = new Model();
        let store = adapter.open();
        store.load({ history: ALL, runs: ALL });
        for (const [n, { call: each, failsAt, restarts }] of steps.entries()) {
          if (failsAt) await failing(adapter, failsAt, () => carryOut(store, model, each, n));
          const { acknowledge } = await carryOut(store, model, each, n);
          acknowledge();
          if (!restarts) continue;
          store.close();
          expect(await readBack(adapter)).toEqual(plain(model));
          store = adapter.open();
        }
        store.close();
        expect(await readBack(adapter)).toEqual(plain(model));
      }),
      { numRuns: 25 },
    );
  });
}

async function failing(adapter: Adapter, moment: Moment, act: () => Promise<unknown>): Promise<void> {
  adapter.failAt(moment);
  try {
    await act().then(
      () => undefined,
      (error) => expect(error).toMatchObject({ code: "database_unavailable" }),
    );
  } finally {
    adapter.failAt(undefined);
  }
}

interface Done {
  /** Does to the model what the call has done to the store. */
  readonly acknowledge: () => void;
}

/** Makes a call, and checks what it answers. */
async function carryOut(store: Store, model: Model, each: Call, n: number): Promise<Done> {
  switch (each.kind) {
    case "change": {
      const revision = model.revision + each.skip;
      const documents = {
        killSwitches: [killSwitch(each.key, revision)],
        versions: each.version === undefined ? [] : [version(each.version, `of step ${n}`)],
        history: revised(revision),
      };
      const alerts = each.alert ? [{ kind: "stop" as const, text: `of step ${n}` }] : [];
      const ledger = { ...NO_LEDGER_WRITES, tick: model.tick };
      await store.commit(change({ ...documents, alerts, ledger, audit: [audited(`change ${n}`, { revision })] }));
      return {
        acknowledge: () => {
          model.revision = revision;
          model.history.push(documents.history);
          for (const put of documents.killSwitches) model.killSwitches.set(put.key, put);
          for (const put of documents.versions) model.versions.set(put.id, put);
          for (const { text } of alerts) {
            for (const id of [...model.webhooks.keys()].sort())
              model.alerts.push({ webhook: id, text, state: "waits" });
          }
          model.audit.push(`change ${n}`);
        },
      };
    }
    case "count": {
      const { instance, settled } = each;
      const totals = { assigned: settled, settled, missing: 0, failures: 0 };
      const runIds = Array.from({ length: each.runs }, (_, i) => `run-${n}-${i}`);
      const key = { alias: instance, rolloutNumber: 1, version: "v@1" };
      const tick = model.tick + 1;
      await store.writeLedger({
        ...NO_LEDGER_WRITES,
        instances: [{ instance, tokenId: "t", through: n, lostSince: null }],
        totals: [{ ...key, totals }],
        runs: runIds.length > 0 ? [{ ...key, runIds }] : [],
        tick,
      });
      return {
        acknowledge: () => {
          model.tick = tick;
          model.instances.set(instance, n);
          model.totals.set(instance, totals);
          model.runs.push(...runIds);
        },
      };
    }
    case "token": {
      const put = token(each.id, { name: `of step ${n}` });
      await store.putToken(put, { audit: audited(`token ${n}`) });
      return {
        acknowledge: () => {
          model.tokens.set(each.id, put);
          model.audit.push(`token ${n}`);
        },
      };
    }
    case "webhook":
      await store.putWebhook(webhook(each.id), { audit: audited(`webhook ${n}`) });
      return {
        acknowledge: () => {
          model.webhooks.set(each.id, webhook(each.id));
          model.audit.push(`webhook ${n}`);
        },
      };
    case "webhook.remove": {
      expect(await store.deleteWebhook(each.id, { audit: audited(`webhook ${n}`) })).toBe(model.webhooks.has(each.id));
      return {
        acknowledge: () => {
          for (const alert of waiting(model, each.id)) alert.state = "given up";
          if (model.webhooks.delete(each.id)) model.audit.push(`webhook ${n}`);
        },
      };
    }
    case "feedback": {
      const put = feedback(each.id, { runId: `run-${n}` });
      expect((await store.putFeedback([put])).duplicates).toBe(model.feedback.has(each.id) ? 1 : 0);
      return { acknowledge: () => void (model.feedback.has(each.id) || model.feedback.set(each.id, put)) };
    }
    case "deliver":
    case "give up": {
      const due = await store.dueAlerts(each.webhook, 0, ALL);
      const waits = waiting(model, each.webhook);
      expect(due.map(({ body }) => (body as { text: string }).text)).toEqual(waits.map(({ text }) => text));
      const [first] = due;
      if (first && each.kind === "deliver") await store.alertDelivered(first.id, AT);
      else if (first) await store.alertFailed(first.id, "no", null);
      const [oldest] = waits;
      return {
        acknowledge: () => {
          if (oldest) oldest.state = each.kind === "deliver" ? "delivered" : "given up";
        },
      };
    }
    case "prune": {
      // Everything is older, so the oldest two go.
      const expected = Math.min(2, model.audit.length);
      expect((await store.prune({ what: "audit", before: "2027-01-01T00:00:00.000Z", rows: 2 })).rows).toBe(expected);
      return { acknowledge: () => void model.audit.splice(0, 2) };
    }
  }
}

function waiting(model: Model, id: string) {
  return model.alerts.filter((alert) => alert.webhook === id && alert.state === "waits");
}

/** What a restarted server reads, without what the model does not speak of. */
async function readBack(adapter: Adapter) {
  const all = await everythingIn(adapter);
  const ids = all.audit.map(({ id }: AuditEvent) => id);
  expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
  return {
    tick: all.tick,
    history: all.history,
    versions: all.versions,
    killSwitches: all.killSwitches,
    tokens: all.tokens,
    webhooks: all.webhooks,
    instances: Object.fromEntries(all.instances.map(({ instance, through }) => [instance, through])),
    totals: Object.fromEntries(all.totals.map(({ alias, totals }) => [alias, totals])),
    runs: all.runs.flatMap(({ runIds }) => runIds),
    audit: all.audit.map(({ action }) => action),
    feedback: all.feedback.map(({ number: _, ...each }) => each).reverse(),
    waiting: all.due.flatMap((rows) => rows.map(({ body }) => (body as { text: string }).text)),
    outboxDepth: all.outboxDepth,
  };
}

function plain(model: Model): Awaited<ReturnType<typeof readBack>> {
  const inOrder = <T>(of: ReadonlyMap<string, T>): T[] =>
    [...of].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  return {
    tick: model.tick,
    history: model.history,
    versions: inOrder(model.versions),
    killSwitches: inOrder(model.killSwitches),
    tokens: inOrder(model.tokens),
    webhooks: inOrder(model.webhooks),
    instances: Object.fromEntries(model.instances),
    totals: Object.fromEntries(model.totals),
    runs: model.runs,
    audit: model.audit,
    feedback: [...model.feedback.values()],
    waiting: [...model.webhooks.keys()].sort().flatMap((id) => waiting(model, id).map(({ text }) => text)),
    outboxDepth: model.alerts.filter(({ state }) => state === "waits").length,
  };
}
