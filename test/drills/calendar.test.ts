import { FlagbackError } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { followCalendar } from "../../server/src/rehearsal/calendar.ts";
import { type CronPattern, nextDue, parseCron } from "../../server/src/rehearsal/cron.ts";

const AT = Date.parse("2026-01-31T10:15:30.000Z");
const MINUTE_MS = 60_000;

function patternOf(text: string): CronPattern {
  const parsed = parseCron(text);
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed;
}

function next(text: string, afterMs = AT): string | undefined {
  const due = nextDue(patternOf(text), afterMs);
  return due === undefined ? undefined : new Date(due).toISOString().slice(0, 16);
}

describe("a cron expression", () => {
  // By hand; 31 January 2026 is a Saturday.
  test.each([
    ["0 9 1 * *", "2026-02-01T09:00"],
    ["*/15 * * * *", "2026-01-31T10:30"],
    ["16 10 * * *", "2026-01-31T10:16"],
    ["15 10 * * *", "2026-02-01T10:15"],
    ["0 9 * * 1-5", "2026-02-02T09:00"],
    ["0 9 * * 7", "2026-02-01T09:00"],
    ["0 9 1,15 3 *", "2026-03-01T09:00"],
    ["0 0 29 2 *", "2028-02-29T00:00"],
    ["0 9 13 * 5", "2026-02-06T09:00"],
  ])("%s is due next at %s", (text, due) => {
    expect(next(text)).toBe(due);
  });

  test("of a day that no month has is never due", () => {
    expect(next("0 0 30 2 *")).toBeUndefined();
  });

  test("is due again over a year that has no 29th of February", () => {
    expect(next("0 0 29 2 *", Date.parse("2096-03-01T00:00:00.000Z"))).toBe("2104-02-29T00:00");
  });

  test.each([
    ["0 9 1 *", "it has 4 fields, not 5"],
    ["60 9 1 * *", "60 is no minute, which goes from 0 to 59"],
    ["0 9 0 * *", "0 is no day of the month, which goes from 1 to 31"],
    ["0 9 1 * mon", "mon is no day of the week, which goes from 0 to 7"],
    ["5-1 9 1 * *", "5-1 is no minute, which goes from 0 to 59"],
    ["*/0 9 1 * *", "*/0 is no minute, which goes from 0 to 59"],
  ])("%s can't be read: %s", (text, problem) => {
    expect(parseCron(text)).toEqual({ problem });
  });

  test("is due at the first minute that matches it, as whoever tries each minute finds", () => {
    const field = (most: number) => fc.oneof(fc.constant("*"), fc.integer({ min: 0, max: most }).map(String));
    fc.assert(
      fc.property(
        field(59),
        field(23),
        field(6),
        fc.integer({ min: 0, max: 10_000_000 }),
        (minute, hour, day, ahead) => {
          const afterMs = AT + ahead * 1_000;
          const isMet = (ms: number) => {
            const at = new Date(ms);
            const fits = (text: string, value: number) => text === "*" || Number(text) === value;
            return fits(minute, at.getUTCMinutes()) && fits(hour, at.getUTCHours()) && fits(day, at.getUTCDay());
          };
          let triedMs = Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
          while (!isMet(triedMs)) triedMs += MINUTE_MS;
          expect(nextDue(patternOf(`${minute} ${hour} * * ${day}`), afterMs)).toBe(triedMs);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("a calendar", () => {
  test("works at each date, also after a failure, until it is told to end", async () => {
    let nowMs = AT;
    const end = new AbortController();
    const worked: string[] = [];
    const said: string[] = [];
    const status = await followCalendar({
      pattern: "0 9 1 * *",
      signal: end.signal,
      say: (line) => said.push(line),
      now: () => nowMs,
      pause: async (ms) => {
        nowMs += ms;
      },
      work: async () => {
        worked.push(new Date(nowMs).toISOString());
        if (worked.length === 2) end.abort();
        return worked.length === 1 ? 1 : 0;
      },
    });
    expect(worked).toEqual(["2026-02-01T09:00:00.000Z", "2026-03-01T09:00:00.000Z"]);
    expect(said).toEqual(["next drill at 2026-02-01T09:00:00.000Z", "next drill at 2026-03-01T09:00:00.000Z"]);
    expect(status).toBe(0);
  });

  test("that can't be read says so instead of waiting", async () => {
    const calendar = { signal: new AbortController().signal, say: () => undefined, work: async () => 0 };
    await expect(followCalendar({ ...calendar, pattern: "every day" })).rejects.toThrow(FlagbackError);
    await expect(followCalendar({ ...calendar, pattern: "0 0 30 2 *" })).rejects.toMatchObject({ code: "usage" });
  });
});
