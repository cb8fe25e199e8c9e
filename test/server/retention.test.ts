/**
 * What is past its term goes, in small steps; what is not over stays, however old.
 */
import { join } from "node:path";
import type { World } from "@flagback/core";
import type { Alias, AuditEvent } from "@flagback/schemas";
import Database from "better-sqlite3";
import fc from "fast-check";
import { startServer } from "flagback";
import { expect, onTestFinished, test } from "vitest";
import { LedgerBook } from "../../server/src/ledger/ledger-book.ts";
import { TickClock } from "../../server/src/ledger/tick-clock.ts";
import { type InUse, inUse } from "../../server/src/store/in-use.ts";
import { nextRows, parseKeep, Retention } from "../../server/src/store/retention.ts";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { Prunable, PruneStep } from "../../server/src/store/store.ts";
import { eventually, SILENT, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

const DAY_MS = 86_400_000;

test("after their terms audit rows, their propagation, alerts, feedback and repeated requests are gone, and marks are not", async () => {
  const server = await usedServer();
  await server.close();
  const before = rowsOf(server, ["audit", "propagation", "history", "outbox", "feedback", "idempotency"]);
  for (const rows of Object.values(before)) expect(rows).toBeGreaterThan(0);
  age(server, 500);
  const again = await server.restart();
  await eventually("they are gone", () => {
    const metrics = again.call<string>("GET", "/metrics");
    return metrics.then(({ body }) =>
      ["audit", "alerts", "feedback", "requests"].every((what) =>
        body.includes(`flagback_pruned_total{what="${what}"}`),
      ),
    );
  });
  await again.close();
  const after = rowsOf(again, ["audit", "propagation", "outbox", "feedback", "idempotency"]);
  expect(after).toEqual({ audit: 0, propagation: 0, outbox: 0, feedback: 0, idempotency: 0 });
  // A runtime may come with any mark, however old.
  expect(rowsOf(again, ["history"]).history).toBe(before.history);
});

test("what is younger than its term stays", async () => {
  const server = await usedServer();
  await server.close();
  const tables = ["audit", "propagation", "history", "outbox", "feedback", "incidents", "decisions"];
  const before = rowsOf(server, tables);
  // Alerts are kept for 30 days, the shortest of the terms beside the day of a repeated request.
  age(server, 29);
  const again = await server.restart();
  await eventually("the requests are gone", async () =>
    (await again.call<string>("GET", "/metrics")).body.includes('flagback_pruned_total{what="requests"}'),
  );
  await again.close();
  expect(rowsOf(again, tables)).toEqual(before);
});

test("an incident stays past its term while it holds a kill switch engaged or a version locked, and while its rollout is the latest", async () => {
  const first = await usedServer();
  await first.close();
  age(first, 500);
  // Its rollout is the latest of its alias, and its kill switch is engaged.
  const second = await first.restart();
  expect(await incidentsAfterPruning(second)).toBe(1);
  await second.call("POST", "/v1/kill-switches/writes_disabled/release", { scope: "agent=support-agent", reason: "x" });
  await second.close();
  age(second, 500);
  const third = await second.restart();
  expect(await incidentsAfterPruning(third)).toBe(1);
  await third.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  await third.call("POST", "/v1/aliases/support-agent/roll-forward", { version: "support-agent@2.5.0", reason: "x" });
  await third.close();
  age(third, 500);
  const fourth = await third.restart();
  expect(await incidentsAfterPruning(fourth)).toBe(1);
  const unlock = { version: "support-agent@2.4.0", reason: "x", rootCause: "x" };
  await fourth.call("POST", "/v1/aliases/support-agent/unlock", unlock);
  await fourth.close();
  age(fourth, 500);
  const fifth = await fourth.restart();
  expect(await incidentsAfterPruning(fifth)).toBe(0);
  await fifth.close();
  expect(rowsOf(fifth, ["incidents", "decisions"])).toEqual({ incidents: 0, decisions: 0 });
});

test("an incident that holds a kill switch stays, also where its rollout is not the latest any more", async () => {
  const server = await usedServer();
  await server.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  await server.call("POST", "/v1/aliases/support-agent/roll-forward", { version: "support-agent@2.5.0", reason: "x" });
  await server.close();
  age(server, 500);
  expect(await incidentsAfterPruning(await server.restart())).toBe(1);
});

test("alerts that wait for delivery stay, however old; those that nobody took stay as long as incidents", async () => {
  const server = await usedServer();
  await server.close();
  edit(server, "UPDATE outbox SET delivered_at = NULL, next_at_ms = 0");
  const later = new Date(Date.now() + DAY_MS).toISOString();
  const store = opened(server);
  expect((await store.prune({ what: "alerts", before: later, rows: 200 })).rows).toBe(0);
  // The incident itself goes, and its alert stays.
  expect((await store.prune({ what: "incidents", before: later, except: [], rows: 200 })).rows).toBe(1);
  store.close();
  expect(rowsOf(server, ["incidents", "outbox"])).toEqual({ incidents: 0, outbox: 1 });
  edit(server, "UPDATE outbox SET next_at_ms = NULL");
  const again = opened(server);
  expect((await again.prune({ what: "alerts", before: later, rows: 200 })).rows).toBe(0);
  expect((await again.prune({ what: "incidents", before: later, except: [], rows: 200 })).rows).toBe(1);
  again.close();
});

test("counts of an alias's old rollouts go up to a number, few at a time, and not those that are excepted", async () => {
  const server = await usedServer();
  await server.close();
  edit(server, "DELETE FROM ledgers; DELETE FROM totals");
  for (const alias of ["a", "b"]) {
    for (let number = 1; number <= 9; number++) {
      edit(server, `INSERT INTO ledgers VALUES ('${alias}', ${number}, '{}')`);
      edit(server, `INSERT INTO totals VALUES ('${alias}', 'v@1', ${number}, 1, 1, 0, 0)`);
    }
  }
  const store = opened(server);
  const step: PruneStep = { what: "rollouts", alias: "b", through: 4, except: [2, 3], rows: 3 };
  // Rollouts 1 and 4, in two tables.
  expect((await store.prune(step)).rows).toBe(3);
  expect((await store.prune(step)).rows).toBe(1);
  store.close();
  const numbers = (table: string, alias: string) =>
    read(server, `SELECT rollout_number FROM ${table} WHERE alias = '${alias}' ORDER BY 1`);
  for (const table of ["ledgers", "totals"]) {
    expect(numbers(table, "a")).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(numbers(table, "b")).toEqual([2, 3, 5, 6, 7, 8, 9]);
  }
});

test("of each alias the newest rollouts stay, and older ones that have runs open", async () => {
  const steps: PruneStep[] = [];
  const retention = new Retention({
    ...quiet,
    terms: parseKeep(["rollouts=5"]),
    inUse: () => ({
      incidents: [],
      aliases: [
        { name: "busy", rolloutNumber: 9, open: [2, 9] },
        { name: "new", rolloutNumber: 5, open: [5] },
      ],
    }),
    prune: async (step) => {
      steps.push(step);
      return 0;
    },
  });
  await retention.run();
  const rollouts = steps.filter(({ what }) => what === "rollouts");
  // The newest 5 of 9 are 5 to 9; of 5 that is all.
  expect(rollouts).toMatchObject([{ alias: "busy", through: 4, except: [2, 9] }]);
});

test("a rollout is open as long as a run of it may still be reported, and no longer", async () => {
  const server = await usedServer();
  await server.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  const before = await server.restart();
  await before.close();
  const store = opened(before);
  const loaded = store.load({ history: 10, runs: 10 });
  store.close();
  const alias = loaded.aliases.find(({ name }) => name === "support-agent") as Alias;
  const world = { ...EMPTY_WORLD, aliases: new Map([[alias.name, { ...alias, rolloutNumber: 7, rollout: null }]]) };
  let nowMs = 0;
  const clock = new TickClock(1, () => nowMs);
  const assignment = {
    instance: "i",
    seq: 1,
    tick: 0,
    alias: alias.name,
    version: "support-agent@2.4.0",
    rolloutNumber: 2,
    assigned: 1,
    settled: 0,
    overdue: {},
  };
  const book = new LedgerBook({
    world: () => world,
    clock,
    loaded: {
      ...loaded,
      instances: [{ instance: "i", tokenId: "t", through: 1, lostSince: null }],
      assignments: [assignment],
      ledgers: [],
      totals: [],
      counts: [],
      runs: [],
    },
  });
  const open = () => inUse(world, (name) => book.openRollouts(name)).aliases[0]?.open;
  book.advance();
  expect(open()).toEqual([2]);
  // The policy's outcomeTimeout is 60 s; then its counts have to be durable.
  nowMs = 120_000;
  book.advance();
  expect(open()).toEqual([2]);
  book.confirm(book.collect());
  book.advance();
  expect(open()).toEqual([]);
});

test("an audit row can't be deleted before its term, not even by SQL", async () => {
  const server = await usedServer();
  await server.close();
  expect(() => edit(server, "DELETE FROM audit")).toThrow(/append-only/);
  const store = opened(server);
  const events = await store.readAudit({ after: 0, limit: 1_000 });
  const middle = events[Math.floor(events.length / 2)] as AuditEvent;
  const { rows: dropped } = await store.prune({ what: "audit", before: middle.timestamp, rows: 1_000 });
  store.close();
  expect(dropped).toBeGreaterThan(0);
  expect(() => edit(server, `DELETE FROM audit WHERE id = ${middle.id}`)).toThrow(/append-only/);
});

test("a clock that jumps ahead by years makes nothing old while the server runs", async () => {
  let wallMs = Date.parse("2026-01-01T00:00:00Z");
  let monotonicMs = 0;
  const steps: PruneStep[] = [];
  const retention = new Retention({
    ...quiet,
    prune: async (step) => {
      steps.push(step);
      return 0;
    },
    now: () => wallMs,
    monotonicMs: () => monotonicMs,
  });
  wallMs += 3_000 * DAY_MS;
  monotonicMs += 3_600_000;
  await retention.run();
  for (const step of steps) {
    if ("before" in step) expect(Date.parse(step.before)).toBeLessThan(Date.parse("2026-01-01T01:01:01Z"));
  }
  expect(steps).toHaveLength(5);
});

test("each step drops few rows, and others get their turn between two of them", async () => {
  const left: Partial<Record<Prunable, number>> = { audit: 1_000 };
  const order: string[] = [];
  const retention = new Retention({
    ...quiet,
    prune: async ({ what, rows }) => {
      const dropped = Math.min(rows, left[what] ?? 0);
      left[what] = (left[what] ?? 0) - dropped;
      if (dropped > 0) order.push("step");
      return dropped;
    },
  });
  const running = retention.run();
  const change = setInterval(() => order.push("change"), 1);
  await running;
  clearInterval(change);
  const between = order.join(" ").split("step").slice(1, -1);
  expect(between.length).toBeGreaterThanOrEqual(4);
  for (const turn of between) expect(turn).toContain("change");
});

test("a run that is closed ends after its step, and a second run joins the first", async () => {
  let steps = 0;
  const retention = new Retention({
    ...quiet,
    prune: async ({ rows }) => {
      steps += 1;
      if (steps === 3) void retention.close();
      return rows;
    },
  });
  expect(retention.run()).toBe(retention.run());
  await retention.run();
  expect(steps).toBe(3);
});

test.each([
  ["audit", "such as 90d"],
  ["decisions=3d", "what is kept is one of audit, incidents"],
  ["audit=forever", "such as 90d"],
  ["audit=1h", "at least a day"],
  ["audit=90d=3", "what is kept is one of"],
  ["rollouts=90d", "a number of rollouts"],
  ["rollouts=1", "at least 2"],
  ["__proto__=1d", "what is kept is one of"],
])("a term that is none is refused at the start, before anything is dropped: %s", async (keep, problem) => {
  const dataDir = await testFolder();
  await expect(startServer({ dataDir, port: 0, log: SILENT, keep: ["feedback=2d", keep] })).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining(problem),
  });
});

test("terms that are given replace the defaults, and the others stay", () => {
  const terms = parseKeep(["audit=7d", "rollouts=3"]);
  // docs/operations.md: incidents 400 days, alerts 30, feedback 90.
  expect(terms).toEqual({
    audit: 7 * DAY_MS,
    incidents: 400 * DAY_MS,
    alerts: 30 * DAY_MS,
    feedback: 90 * DAY_MS,
    rollouts: 3,
  });
});

test("of any audit log exactly the rows before the term go, in whatever steps", async () => {
  const server = await testServer();
  await server.close();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 99 }), { maxLength: 60 }),
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 1, max: 20 }),
      async (gaps, before, rows) => {
        const store = opened(server);
        await emptyAudit(store);
        let second = 0;
        const seconds = gaps.map((gap) => (second += gap));
        for (const each of seconds) {
          await store.appendAudit({
            timestamp: at(each),
            actor: { kind: "system", name: "system" },
            action: "a",
            target: "t",
            summary: "s",
          });
        }
        const cutoff = (before * (second + 1)) / 100;
        for (;;) if ((await store.prune({ what: "audit", before: at(cutoff), rows })).rows < rows) break;
        const left = await store.readAudit({ after: 0, limit: 1_000 });
        store.close();
        expect(left.map((event) => event.timestamp)).toEqual(seconds.map(at).filter((each) => each >= at(cutoff)));
      },
    ),
    { numRuns: 30 },
  );

  // Later than the years before, so that what an earlier run allowed to go does not matter.
  function at(second: number): string {
    return new Date(Date.parse("2030-01-01T00:00:00Z") + second * 1_000).toISOString();
  }
});

test.each([
  [64, 1, 64],
  [64, 3, 64],
  [64, 9, 32],
  [3, 9, 1],
  [1, 900, 1],
  [8, 3, 8],
  [8, 1, 16],
  [40, 0, 64],
])("after a step of %i rows that took %i ms come steps of %i", (rows, tookMs, next) => {
  expect(nextRows(rows, tookMs)).toBe(next);
});

test("after a slow step the next one is half as large, and the wait between them is four times as long as it took", async () => {
  const steps: number[] = [];
  const pauses: number[] = [];
  let nowMs = 0;
  let left = 100;
  const retention = new Retention({
    ...quiet,
    monotonicMs: () => nowMs,
    pause: async (ms) => pauses.push(ms),
    prune: async ({ what, rows }) => {
      if (what !== "audit") return 0;
      steps.push(rows);
      // Only the first is slow.
      nowMs += steps.length === 1 ? 100 : 1;
      const went = Math.min(left, rows);
      left -= went;
      return went;
    },
  });
  await retention.run();
  expect(left).toBe(0);
  expect(steps).toEqual([64, 32, 64]);
  // Incidents before it have none, and what comes after it neither.
  expect(pauses).toEqual([0, 400, 20, 0, 0, 0, 0]);
});

const EMPTY_WORLD: World = {
  aliases: new Map(),
  versions: new Map(),
  killSwitches: new Map(),
  flags: new Map(),
  decisions: new Map(),
  incidents: new Map(),
  triggers: new Map(),
  asked: new Map(),
  releases: new Map(),
};

const quiet = {
  prune: async () => 0,
  inUse: (): InUse => ({ incidents: [], aliases: [] }),
  terms: parseKeep([]),
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  onPruned: () => undefined,
  log: SILENT,
};

/** A server with a rollback, an alert that was delivered, feedback, and an answer kept for repeats. */
async function usedServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:9/nobody" });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT, { headers: { "idempotency-key": "once" } });
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "x" });
  const token = await server.token("runtime");
  const feedback = [{ id: "f", runId: "r", alias: "support-agent", version: "support-agent@2.4.0", quality: 1 }];
  await server.call("POST", "/v1/feedback", { feedback }, { token });
  await server.close();
  edit(server, "UPDATE outbox SET delivered_at = created_at, next_at_ms = NULL");
  return server.restart();
}

/** How many incidents there are once what is past its term has gone. */
async function incidentsAfterPruning(server: TestServer): Promise<number> {
  // Audit rows are looked at after the incidents.
  await eventually("audit rows are dropped", async () =>
    (await server.call<string>("GET", "/metrics")).body.includes('flagback_pruned_total{what="audit"}'),
  );
  return (await server.call<{ incidents: unknown[] }>("GET", "/v1/incidents")).body.incidents.length;
}

/** Makes everything in the database older. */
function age(server: TestServer, days: number): void {
  const database = new Database(join(server.dataDir, "flagback.db"));
  database.exec("DROP TRIGGER IF EXISTS audit_is_append_only");
  const older = (column: string) => `${column} = strftime('%Y-%m-%dT%H:%M:%fZ', ${column}, '-${days} days')`;
  for (const [table, column] of [
    ["audit", "timestamp"],
    ["outbox", "delivered_at"],
    ["outbox", "created_at"],
    ["feedback", "received_at"],
    ["idempotency", "at"],
    ["incidents", "opened_at"],
  ] as const) {
    database.exec(`UPDATE ${table} SET ${older(column)}`);
  }
  database.close();
}

function edit(server: TestServer, sql: string): void {
  const database = new Database(join(server.dataDir, "flagback.db"));
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}

function read(server: TestServer, sql: string): unknown[] {
  const database = new Database(join(server.dataDir, "flagback.db"));
  try {
    return database.prepare(sql).pluck().all();
  } finally {
    database.close();
  }
}

function rowsOf(server: TestServer, tables: readonly string[]): Record<string, number> {
  return Object.fromEntries(tables.map((table) => [table, Number(read(server, `SELECT count(*) FROM ${table}`)[0])]));
}

function opened(server: TestServer) {
  const store = openSqliteStore(join(server.dataDir, "flagback.db"));
  onTestFinished(() => store.close());
  return store;
}

async function emptyAudit(store: ReturnType<typeof opened>): Promise<void> {
  const future = "9999-01-01T00:00:00.000Z";
  while ((await store.prune({ what: "audit", before: future, rows: 1_000 })).rows > 0);
}
