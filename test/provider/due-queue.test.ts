import fc from "fast-check";
import { expect, test } from "vitest";
import { DueQueue, type Queued } from "../../provider/src/outcomes/due-queue.ts";

test("whatever comes and goes, the first is the one that is due first", () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), dueMs: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ kind: fc.constant("remove" as const), at: fc.nat(30) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
      const queue = new DueQueue<Queued>();
      let held: Queued[] = [];
      for (const each of actions) {
        if (each.kind === "add") {
          const entry = { dueMs: each.dueMs, place: -1 };
          queue.add(entry);
          held.push(entry);
        } else {
          const removed = held[each.at % Math.max(1, held.length)];
          if (removed) queue.remove(removed);
          held = held.filter((entry) => entry !== removed);
        }
        const dues = held.map((entry) => entry.dueMs);
        expect(queue.first?.dueMs).toBe(dues.length > 0 ? Math.min(...dues) : undefined);
      }
    }),
  );
});

test("an entry that is in no queue can be taken out of it", () => {
  const queue = new DueQueue<Queued>();
  const entry = { dueMs: 1, place: -1 };
  queue.add(entry);
  queue.remove(entry);
  queue.remove(entry);
  expect(queue.first).toBeUndefined();
});
