/**
 * Which rows go after their terms, and which stay.
 */
import type { AuditEvent } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { PruneStep } from "../../../server/src/store/store.ts";
import { eventually, testServer } from "../../support/server.ts";
import { age, edit, opened, read, rowsOf, usedServer } from "./aged-server.ts";

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

async function emptyAudit(store: ReturnType<typeof opened>): Promise<void> {
  const future = "9999-01-01T00:00:00.000Z";
  while ((await store.prune({ what: "audit", before: future, rows: 1_000 })).rows > 0);
}
