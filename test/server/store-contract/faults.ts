/**
 * The contract of failing disks: a write that fails has done nothing, wherever it failed, and may be made again.
 */
import { describe, expect, test } from "vitest";
import { NO_LEDGER_WRITES } from "../../../server/src/store/ledger-writes.ts";
import type { Store } from "../../../server/src/store/store.ts";
import {
  type Adapter,
  ALL,
  AT,
  alias,
  audited,
  change,
  checked,
  drill,
  everythingIn,
  feedback,
  killSwitch,
  LATER,
  type MakeAdapter,
  MOMENTS,
  request,
  revised,
  stopped,
  token,
  trigger,
  version,
  webhook,
} from "./adapter.ts";

/** Every call that writes, with work in several tables where it has any. */
const WRITES: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  commit: (store) =>
    store.commit(
      change({
        ...stopped("2"),
        versions: [version("agent@3")],
        aliases: [alias("agent", 2)],
        killSwitches: [killSwitch("writes_disabled", 2)],
        triggers: [trigger("t2")],
        deleted: [
          { kind: "flag", key: "f" },
          { kind: "trigger", key: "t1" },
        ],
        history: revised(2),
        alerts: [{ kind: "rollback", text: "Rolled back." }],
        idempotency: request("twice"),
        ledger: COUNTED,
      }),
    ),
  writeLedger: (store) => store.writeLedger(COUNTED),
  appendAudit: (store) => store.appendAudit(audited("append")),
  writePropagation: (store) => store.writePropagation([{ revision: 1, switchStatus: "applied 1/1" }]),
  putIdempotent: (store) => store.putIdempotent(request("twice"), AT),
  putDrill: (store) => store.putDrill(drill(2), [1]),
  putChecks: (store) => store.putChecks(checked("agent", 2)),
  putFeedback: (store) => store.putFeedback([feedback("b"), feedback("c")]),
  putToken: (store) => store.putToken(token("t2"), { audit: audited("token.create"), idempotency: request("twice") }),
  putWebhook: (store) => store.putWebhook(webhook("w2"), { audit: audited("webhook.add") }),
  deleteWebhook: (store) => store.deleteWebhook("w", { audit: audited("webhook.remove") }),
  redeliver: (store) => store.redeliver({ webhookId: "w", id: 2 }, 0, { audit: audited("webhook.redeliver") }),
  alertDelivered: (store) => store.alertDelivered(1, AT),
  alertFailed: (store) => store.alertFailed(1, "it answered 500", 5),
  "prune of audit rows": (store) => store.prune({ what: "audit", before: LATER, rows: ALL }),
  "prune of incidents": (store) => store.prune({ what: "incidents", before: LATER, except: [], rows: ALL }),
  "prune of feedback": (store) => store.prune({ what: "feedback", before: LATER, rows: ALL }),
};

const COUNTED = {
  ...NO_LEDGER_WRITES,
  instances: [{ instance: "i", tokenId: "t", through: 9, lostSince: null }],
  runs: [{ alias: "agent", rolloutNumber: 1, version: "agent@1", runIds: ["r9"] }],
  totals: [
    {
      alias: "agent",
      rolloutNumber: 1,
      version: "agent@1",
      totals: { assigned: 9, settled: 9, missing: 0, failures: 0 },
    },
  ],
  tick: 9,
};

export function faultsContract(make: MakeAdapter): void {
  describe.each(Object.entries(WRITES))("where %s meets a broken disk", (_name, write) => {
    test.each(MOMENTS)("%s, nothing of it is done, and it goes well when the disk is mended", async (moment) => {
      const adapter = await used(make);
      const before = await everythingIn(adapter);

      const store = adapter.open();
      adapter.failAt(moment);
      await expect(write(store)).rejects.toMatchObject({
        code: "database_unavailable",
        hint: expect.stringContaining("Nothing of this change was written"),
      });
      adapter.failAt(undefined);
      store.close();
      expect(await everythingIn(adapter)).toEqual(before);

      const again = adapter.open();
      adapter.failAt(moment);
      await expect(write(again)).rejects.toThrow();
      adapter.failAt(undefined);
      // On the same connection, which had to undo it.
      await write(again);
      again.close();
      expect(await everythingIn(adapter)).not.toEqual(before);
    });
  });

  test("while the disk is broken everything can be read, and closing loses nothing", async () => {
    const adapter = await used(make);
    const before = await everythingIn(adapter);
    const store = adapter.open();
    await store.writeLedger(COUNTED);
    adapter.failAt("after-begin");
    expect(await store.readAudit({ after: 0, limit: ALL })).toEqual(before.audit);
    expect(await store.readIncidents()).toEqual(before.incidents);
    expect(await store.readFeedback({ limit: ALL })).toEqual(before.feedback);
    expect(await store.findIdempotent("t", "once")).toEqual(before.requests[0]);
    store.close();
    adapter.failAt(undefined);
    expect(await everythingIn(adapter)).toMatchObject({ instances: COUNTED.instances, tick: 9 });
  });
}

/** A database with something of everything. */
async function used(make: MakeAdapter): Promise<Adapter> {
  const adapter = await make();
  const store = adapter.open();
  await store.putWebhook(webhook("w"), { audit: audited("webhook.add") });
  const flag = { key: "f", definition: { state: "ENABLED" as const, variants: { on: true } }, revision: 1, edit: 1 };
  await store.commit(
    change({
      ...stopped("1"),
      flags: [flag],
      triggers: [trigger("t1")],
      history: revised(1),
      alerts: [{ kind: "rollback", text: "Rolled back." }],
      audit: [audited("rollback", { revision: 1 })],
      idempotency: request("once"),
    }),
  );
  await store.commit(change({ alerts: [{ kind: "stop", text: "Stopped." }] }));
  await store.alertFailed(2, "it answered 410", null);
  await store.putFeedback([feedback("a")]);
  await store.putChecks(checked("agent", 1));
  store.close();
  return adapter;
}
