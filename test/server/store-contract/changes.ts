/**
 * The contract of changes, the audit log and incidents.
 */
import { expect, test } from "vitest";
import { NO_LEDGER_WRITES } from "../../../server/src/store/ledger-writes.ts";
import {
  ALL,
  AT,
  alias,
  audited,
  change,
  everythingIn,
  killSwitch,
  LATER,
  type MakeAdapter,
  request,
  revised,
  stop,
  stopped,
  trigger,
  version,
  webhook,
} from "./adapter.ts";

const RELEASE = { name: "summer", versions: { agent: "agent@2" }, notes: "", edit: 1 };

export function changesContract(make: MakeAdapter): void {
  test("a new database is empty, and its epoch is its own and stays", async () => {
    const adapter = await make();
    const first = await everythingIn(adapter);
    expect(first).toMatchObject({
      aliases: [],
      versions: [],
      history: [],
      tokens: [],
      webhooks: [],
      audit: [],
      tick: 0,
    });
    expect(first.epoch).toMatch(/^[0-9a-f]{32}$/);
    expect((await everythingIn(adapter)).epoch).toBe(first.epoch);
    expect((await everythingIn(await make())).epoch).not.toBe(first.epoch);
  });

  test("all parts of a change are there after a restart", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.putWebhook(webhook("w1"), { audit: audited("webhook.add") });
    await store.putWebhook(webhook("w2"), { audit: audited("webhook.add") });
    const { decision, incident, ...timed } = stop("1");
    const documents = {
      aliases: [alias("agent", 1)],
      versions: [version("agent@1"), version("agent@2", "Be quick.")],
      killSwitches: [killSwitch("writes_disabled", 7)],
      flags: [{ key: "f", definition: { state: "ENABLED" as const, variants: { on: true } }, revision: 7, edit: 7 }],
      triggers: [trigger("t1")],
    };
    const { auditId, commitMs } = await store.commit(
      change({
        ...documents,
        history: revised(7),
        audit: [
          audited("rollback", { revision: 7, decisionId: decision.id, incident: "inc_1", lastRunIds: ["r1"] }),
          audited("rollback", { revision: 7, target: "alias:tools", coordinationId: "rb_1" }),
        ],
        stops: [{ decision, incident, ...timed }],
        releases: [RELEASE],
        alerts: [{ kind: "rollback", text: "Rolled back.", alias: "agent", incident: "inc_1" }],
        idempotency: request("once", { revision: 7 }),
        ledger: { ...NO_LEDGER_WRITES, tick: 5 },
      }),
    );
    expect(commitMs).toBeGreaterThan(0);
    store.close();

    const after = await everythingIn(adapter);
    expect(after).toMatchObject({ ...documents, tick: 5, history: [revised(7)] });
    expect(after.releases).toEqual([RELEASE]);
    expect(after.decisions).toEqual([{ id: decision.id, incident: "inc_1" }]);
    expect(after.decided).toEqual([decision]);
    expect(after.incidents).toMatchObject([
      {
        incident,
        outcomesToDecision: 12,
        timings: { detectMs: 250, decideMs: 1.5, commitMs: expect.any(Number) },
      },
    ]);
    // Nobody has acknowledged it yet.
    const switchStatus = "pending";
    expect(after.audit.slice(-2)).toEqual([
      {
        ...audited("rollback", { revision: 7, decisionId: decision.id, incident: "inc_1", lastRunIds: ["r1"] }),
        id: auditId,
        switchStatus,
      },
      {
        ...audited("rollback", { revision: 7, target: "alias:tools", coordinationId: "rb_1" }),
        id: auditId + 1,
        switchStatus,
      },
    ]);
    const alert = { kind: "rollback", text: "Rolled back.", alias: "agent", incident: "inc_1" };
    expect(after.due.map((rows) => rows.map(({ body, attempts }) => ({ body, attempts })))).toEqual([
      [{ body: alert, attempts: 0 }],
      [{ body: alert, attempts: 0 }],
    ]);
    expect(after.requests[0]).toEqual({ bodyHash: request("once").bodyHash, answer: { revision: 7 }, auditId });
  });

  test("a document that is written again replaces the one before, and a deleted flag is gone", async () => {
    const adapter = await make();
    const store = adapter.open();
    const flag = { key: "f", definition: { state: "ENABLED" as const, variants: { on: true } }, revision: 1, edit: 1 };
    await store.commit(change({ killSwitches: [killSwitch("writes_disabled", 1)], flags: [flag] }));
    await store.commit(
      change({
        killSwitches: [killSwitch("writes_disabled", 2)],
        deleted: [
          { kind: "flag", key: "f" },
          { kind: "flag", key: "never was" },
        ],
      }),
    );
    store.close();
    const { killSwitches, flags } = await everythingIn(adapter);
    expect([killSwitches, flags]).toEqual([[killSwitch("writes_disabled", 2)], []]);
  });

  test("numbers of audit rows only grow, also across restarts and where old rows were dropped", async () => {
    const adapter = await make();
    let last = 0;
    for (let round = 0; round < 3; round++) {
      const store = adapter.open();
      for (const write of [
        () => store.appendAudit(audited("a")),
        async () => (await store.commit(change())).auditId,
        () => store.appendAudit(audited("b")),
      ]) {
        const id = await write();
        expect(id).toBeGreaterThan(last);
        last = id;
      }
      // Not even the highest number is given twice.
      expect((await store.prune({ what: "audit", before: LATER, rows: ALL })).rows).toBe(3);
      store.close();
    }
  });

  test.each([7, 6, 1])(
    "after revision 7 a change of revision %i is refused, and nothing of it is done",
    async (revision) => {
      const adapter = await make();
      const store = adapter.open();
      await store.commit(change({ history: revised(7), killSwitches: [killSwitch("writes_disabled", 7)] }));
      store.close();
      const before = await everythingIn(adapter);
      const again = adapter.open();
      const late = change({ history: revised(revision), killSwitches: [killSwitch("writes_disabled", revision)] });
      await expect(again.commit(late)).rejects.toMatchObject({ code: "database_unavailable" });
      again.close();
      expect(await everythingIn(adapter)).toEqual(before);
      const third = adapter.open();
      await third.commit(change({ history: revised(8) }));
      third.close();
      expect((await everythingIn(adapter)).history).toEqual([revised(7), revised(8)]);
    },
  );

  test("a start is given the last revisions that it asked for, oldest first", async () => {
    const adapter = await make();
    const store = adapter.open();
    for (const revision of [1, 2, 5, 9]) await store.commit(change({ history: revised(revision) }));
    store.close();
    const again = adapter.open();
    expect(again.load({ history: 2, runs: 0 }).history).toEqual([revised(5), revised(9)]);
    again.close();
  });

  test("a decision is carried out once: the second change with it is refused whole", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.commit(change(stopped("1")));
    store.close();
    const before = await everythingIn(adapter);
    const again = adapter.open();
    const second = change({ ...stopped("1"), versions: [version("agent@9")], history: revised(1) });
    await expect(again.commit(second)).rejects.toMatchObject({ code: "database_unavailable" });
    again.close();
    expect(await everythingIn(adapter)).toEqual(before);
  });

  test("a repeated request's key is answered once: a second change with it is refused whole", async () => {
    const adapter = await make();
    const store = adapter.open();
    expect(await store.findIdempotent("t", "once")).toBeUndefined();
    await store.putIdempotent(request("once", { first: true }), AT);
    const second = change({ versions: [version("agent@9")], idempotency: request("once", { second: true }) });
    await expect(store.commit(second)).rejects.toMatchObject({ code: "database_unavailable" });
    // The key is that of one token.
    expect(await store.findIdempotent("another", "once")).toBeUndefined();
    store.close();
    const after = await everythingIn(adapter);
    expect(after).toMatchObject({ versions: [], audit: [] });
    expect(after.requests[0]).toMatchObject({ answer: { first: true }, auditId: null });
  });

  test("the audit log is read forward from a number, or its newest rows, and by target and decision", async () => {
    const store = (await make()).open();
    const { decision } = stop("1");
    const rows = [
      audited("a", { target: "alias:a" }),
      audited("b", { target: "alias:b", decisionId: decision.id }),
      audited("c", { target: "alias:a" }),
    ];
    const ids: number[] = [];
    for (const row of rows) ids.push(await store.appendAudit(row));
    const actions = async (query: Parameters<typeof store.readAudit>[0]) =>
      (await store.readAudit(query)).map(({ action }) => action);
    expect(await actions({ limit: 2 })).toEqual(["b", "c"]);
    expect(await actions({ after: 0, limit: 2 })).toEqual(["a", "b"]);
    expect(await actions({ after: ids[1], limit: 2 })).toEqual(["c"]);
    expect(await actions({ target: "alias:a", limit: 9 })).toEqual(["a", "c"]);
    expect(await actions({ decisionId: decision.id, limit: 9 })).toEqual(["b"]);
    expect(await actions({ target: "alias:a", after: ids[2], limit: 9 })).toEqual([]);
    store.close();
  });

  test("how far a revision has spread is seen in its audit row, as it was written last", async () => {
    const store = (await make()).open();
    await store.commit(change({ history: revised(1), audit: [audited("a", { revision: 1 })] }));
    await store.writePropagation([{ revision: 1, switchStatus: "applied 1/2" }]);
    await store.writePropagation([{ revision: 1, switchStatus: "applied 2/2" }]);
    expect(await store.readAudit({ limit: 1 })).toMatchObject([{ revision: 1, switchStatus: "applied 2/2" }]);
    store.close();
  });

  test("incidents are read newest first, or one by its id", async () => {
    const store = (await make()).open();
    await store.commit(change(stopped("1", AT)));
    await store.commit(change(stopped("2", LATER)));
    const ids = async (id?: string) => (await store.readIncidents(id)).map(({ incident }) => incident.id);
    expect(await ids()).toEqual(["inc_2", "inc_1"]);
    expect(await ids("inc_1")).toEqual(["inc_1"]);
    expect(await ids("inc_3")).toEqual([]);
    expect(await store.readDecision("none")).toBeUndefined();
    store.close();
  });

  test("an incident goes on as a later change says, with its decision and timings; one that is not there is not made", async () => {
    const adapter = await make();
    const store = adapter.open();
    const opening = stop("1");
    await store.commit(change({ stops: [opening] }));
    const [opened] = await store.readIncidents();
    const closed = { ...opening.incident, state: "closed" as const };
    await store.commit(change({ incidents: [closed, { ...closed, id: "inc_unknown" }] }));
    store.close();
    const { incidents, decided } = await everythingIn(adapter);
    expect(incidents).toEqual([{ ...opened, incident: closed }]);
    expect(decided).toEqual([opening.decision]);
    const again = adapter.open();
    expect(again.load({ history: 0, runs: 0 }).incidents).toEqual([closed]);
    again.close();
  });
}
