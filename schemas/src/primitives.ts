/**
 * The small values that every document and message is made of.
 */
import * as z from "zod";
import {
  MAX_JSON_DEPTH,
  MAX_NAME_LENGTH,
  MAX_PAYLOAD_BYTES,
  MAX_TEXT_LENGTH,
  MAX_VERSION_ID_LENGTH,
  TOTAL_WEIGHT,
} from "./limits.ts";

/** Name of an alias, flag or kill switch: letters, digits, `.`, `_`, `-`; starts with a letter or digit. */
export const Name = z
  .string()
  .min(1)
  .max(MAX_NAME_LENGTH)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "use letters, digits, '.', '_' or '-', starting with a letter or digit");

/** The kill switch that every database has, and that a breach engages unless the policy says otherwise. */
export const DEFAULT_KILL_SWITCH = "writes_disabled";

/** Id of a version, such as `support-agent@2.4.0` or `anthropic:claude-sonnet-4-6`. No white space. */
export const VersionId = z
  .string()
  .min(1)
  .max(MAX_VERSION_ID_LENGTH)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:@/+-]*$/, "use letters, digits and any of . _ : @ / + - without spaces");

/** Weight in thousandths of a percent, 0 to 100 000. */
export const Weight = z.int().min(0).max(TOTAL_WEIGHT);

/** Counter of changes that runtimes see. 0 is a database before its first change. */
export const Revision = z.int().min(0);

/** First 16 hex digits of SHA-256(previous mark + canonical change). */
export const Mark = z.string().regex(/^[0-9a-f]{16}$/);

/** Random id of a database, 32 hex digits. */
export const Epoch = z.string().regex(/^[0-9a-f]{32}$/);

/** 128 random bits of one provider object, 32 hex digits. Never persisted by the runtime. */
export const Instance = z.string().regex(/^[0-9a-f]{32}$/);

/** SHA-256 in hex. */
export const Digest = z.string().regex(/^[0-9a-f]{64}$/);

/** Moment in UTC, ISO 8601 with milliseconds. */
export const Timestamp = z.iso.datetime();

/** Free text written by a person. */
export const Text = z.string().max(MAX_TEXT_LENGTH);

/** Why somebody did something. Not empty. */
export const Reason = z.string().trim().min(1).max(MAX_TEXT_LENGTH);

const DURATION_UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A length of time as people write it: `500ms`, `10s`, `5m`, `1h`, `7d`. Few enough digits that a `Date` can hold now + 9999999d. */
export const Duration = z
  .string()
  .regex(/^(\d{1,9}ms|\d{1,7}[smhd])$/, { error: "write a duration such as 500ms, 10s, 5m, 1h or 7d", abort: true });

/** Milliseconds of a {@link Duration}. */
export function durationMs(duration: string): number {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(duration);
  if (!match) throw new RangeError(`not a duration: ${duration}`);
  return Number(match[1]) * DURATION_UNIT_MS[match[2] as keyof typeof DURATION_UNIT_MS];
}

/**
 * Where a kill switch's entry applies: `*`, or attribute equalities joined by commas, such as `agent=support-agent` or
 * `agent=support-agent,tool=refund`. An attribute that the evaluation context lacks matches (fail closed).
 */
export const Scope = z
  .string()
  .max(MAX_TEXT_LENGTH)
  .regex(/^(\*|[A-Za-z][A-Za-z0-9_.-]*=[^,=\s]+(,[A-Za-z][A-Za-z0-9_.-]*=[^,=\s]+)*)$/, "write * or attribute=value");

/** Says that a value is nested too deeply. For `refine`. */
export const TOO_DEEP = `nested deeper than ${MAX_JSON_DEPTH} levels`;

/** Whether a value is nested at most {@link MAX_JSON_DEPTH} levels. A value that contains itself is not. */
export function isShallow(value: unknown): boolean {
  // Level by level instead of by recursion: this is what keeps everybody else's recursion within the stack. A set,
  // because YAML's references let few objects stand in very many places.
  let level = new Set([value].filter(isContainer));
  for (let depth = 0; depth < MAX_JSON_DEPTH && level.size > 0; depth++) {
    level = new Set([...level].flatMap((each) => Object.values(each).filter(isContainer)));
  }
  return level.size === 0;
}

/** An object or an array. */
export function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Any JSON value that is nested at most {@link MAX_JSON_DEPTH} levels. */
export const Json = z.unknown().refine(isShallow, { error: TOO_DEEP, abort: true }).pipe(z.json());
export type Json = z.infer<typeof Json>;

/** What a version delivers: JSON of at most {@link MAX_PAYLOAD_BYTES}. A larger one has an issue whose `params.code` is the error's. */
export const Payload = Json.superRefine((payload, context) => {
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length;
  if (bytes <= MAX_PAYLOAD_BYTES) return;
  context.addIssue({
    code: "custom",
    message: `has ${bytes} bytes; ${MAX_PAYLOAD_BYTES} is the limit`,
    params: { code: "payload_too_large" },
  });
});
