import fc from "fast-check";
import { expect, test } from "vitest";
import { isDue, remainingMs } from "../../server/src/decisions/deadline.ts";

const OPENED_MS = Date.parse("2026-01-02T03:00:00.000Z");
const TERM_MS = 30 * 60_000;
const term = (atDeadline: "rollback" | "continue") => ({
  openedAt: new Date(OPENED_MS).toISOString(),
  deadline: new Date(OPENED_MS + TERM_MS).toISOString(),
  atDeadline,
});

/** A wall clock that jumps by `jumpMs` just after the decision was opened, seen when `passedMs` have truly passed. */
function dueAfter(atDeadline: "rollback" | "continue", passedMs: number, jumpMs: number): boolean {
  const asked = term(atDeadline);
  const forMs = remainingMs(asked, OPENED_MS);
  return isDue(asked, { nowMs: OPENED_MS + passedMs + jumpMs, waitedMs: passedMs, forMs });
}

test("a decision is due once its term has passed, whatever the clock on the wall says", () => {
  const jump = fc.integer({ min: -10 * TERM_MS, max: 10 * TERM_MS });
  fc.assert(
    fc.property(fc.constantFrom("rollback" as const, "continue" as const), jump, (atDeadline, jumpMs) => {
      expect(dueAfter(atDeadline, TERM_MS, jumpMs)).toBe(true);
    }),
  );
});

test("a clock that jumps ahead brings a rollback forward, and lets nothing go on early", () => {
  expect(dueAfter("rollback", 1_000, TERM_MS)).toBe(true);
  expect(dueAfter("continue", 1_000, TERM_MS)).toBe(false);
  expect(dueAfter("rollback", 1_000, 0)).toBe(false);
});

test("after a restart the rest of the term is waited, and never more than the whole of it", () => {
  const asked = term("rollback");
  expect(remainingMs(asked, OPENED_MS + 20 * 60_000)).toBe(10 * 60_000);
  expect(remainingMs(asked, OPENED_MS + 2 * TERM_MS)).toBe(0);
  // The clock was set back by a day while nobody looked.
  expect(remainingMs(asked, OPENED_MS - 86_400_000)).toBe(TERM_MS);
});
