/**
 * When a cron expression is next due, in UTC: minute, hour, day of the month, month, day of the week, each a `*`, a number, a
 * range, a list or a step. Pure. As in cron, where both days are given, either is enough.
 */

/** The longest that a date can be away: the 29th of February, over a year like 2100 that has none. */
const MAX_DAYS = 8 * 366 + 1;

const FIELDS = [
  { name: "minute", least: 0, most: 59 },
  { name: "hour", least: 0, most: 23 },
  { name: "day of the month", least: 1, most: 31 },
  { name: "month", least: 1, most: 12 },
  { name: "day of the week", least: 0, most: 7 },
] as const;

type Field = (typeof FIELDS)[number];

export interface CronPattern {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: readonly number[];
  readonly months: readonly number[];
  /** 0 is Sunday. */
  readonly weekdays: readonly number[];
  /** Whether a day of the month, and of the week, is asked for at all. */
  readonly asksDay: boolean;
  readonly asksWeekday: boolean;
}

/** What a text asks for, or what is wrong with it, in a clause. */
export function parseCron(text: string): CronPattern | { readonly problem: string } {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) return { problem: `it has ${parts.length} fields, not ${FIELDS.length}` };
  const values: number[][] = [];
  for (const [index, field] of FIELDS.entries()) {
    const found = valuesOf(parts[index] ?? "", field);
    if (found === undefined) {
      return { problem: `${parts[index]} is no ${field.name}, which goes from ${field.least} to ${field.most}` };
    }
    values.push(found);
  }
  const [minutes = [], hours = [], days = [], months = [], weekdays = []] = values;
  return {
    minutes,
    hours,
    days,
    months,
    weekdays: weekdays.map((weekday) => weekday % 7),
    asksDay: !parts[2]?.startsWith("*"),
    asksWeekday: !parts[4]?.startsWith("*"),
  };
}

/** The first moment after `afterMs` that the pattern asks for, since 1970; undefined where there is none, as on 30 February. */
export function nextDue(pattern: CronPattern, afterMs: number): number | undefined {
  const after = new Date(afterMs);
  for (let ahead = 0; ahead <= MAX_DAYS; ahead += 1) {
    const day = new Date(Date.UTC(after.getUTCFullYear(), after.getUTCMonth(), after.getUTCDate() + ahead));
    if (!isDay(pattern, day)) continue;
    for (const hour of pattern.hours) {
      for (const minute of pattern.minutes) {
        const dueMs = day.getTime() + (hour * 60 + minute) * 60_000;
        if (dueMs > afterMs) return dueMs;
      }
    }
  }
  return undefined;
}

function isDay({ days, months, weekdays, asksDay, asksWeekday }: CronPattern, day: Date): boolean {
  if (!months.includes(day.getUTCMonth() + 1)) return false;
  const isOfMonth = days.includes(day.getUTCDate());
  const isOfWeek = weekdays.includes(day.getUTCDay());
  return asksDay && asksWeekday ? isOfMonth || isOfWeek : isOfMonth && isOfWeek;
}

/** Ascending and once each. */
function valuesOf(text: string, { least, most }: Field): number[] | undefined {
  const found = new Set<number>();
  for (const part of text.split(",")) {
    const [, star, first, last, step] = /^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part) ?? [];
    if (star === undefined && first === undefined) return undefined;
    const from = star ? least : Number(first);
    // `5/10` goes on to the end, as `5-59/10` does.
    const to = star || (last === undefined && step !== undefined) ? most : Number(last ?? first);
    const by = Number(step ?? 1);
    if (from < least || to > most || from > to || by < 1) return undefined;
    for (let value = from; value <= to; value += by) found.add(value);
  }
  return [...found].sort((a, b) => a - b);
}
