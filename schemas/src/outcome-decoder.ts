/**
 * Reads the frames that come most often, batches of outcomes, by hand: a tenth of the schema's time. It accepts what
 * `OutcomeBatch` and `StreamOutcome` accept, with the same value (but for records with a `__proto__`, which nobody sends); a
 * property test holds the two together. What it does not accept is asked of the schema, which has the last word and says why.
 */
import {
  MAX_ATTRIBUTES,
  MAX_BATCH_ASSIGNMENTS,
  MAX_BATCH_ITEMS,
  MAX_GROUP_RUNS,
  MAX_GUARDRAILS,
  MAX_KEY_LENGTH,
  MAX_METRICS,
  MAX_NAME_LENGTH,
  MAX_RUN_COST_USD,
  MAX_RUN_COUNT,
  MAX_RUN_MS,
  MAX_SHORT_TEXT_LENGTH,
  MAX_VERSION_ID_LENGTH,
} from "./limits.ts";
import { ErrorOrigin, Outcome, OutcomeStatus, SafetyFlag } from "./outcome.ts";
import type { Assignment, OutcomeBatch, Overdue, StreamOutcome } from "./outcome-batch.ts";
import { Timestamp } from "./primitives.ts";

/** An object that came from JSON. */
export type Fields = Record<string, unknown>;

const STATUSES: ReadonlySet<string> = new Set(OutcomeStatus.options);
const ERROR_ORIGINS: ReadonlySet<string> = new Set(ErrorOrigin.options);
const OUTCOME_FIELDS = [...Object.keys(Outcome.shape), "assignedSeq", "overdueLimitsMs"];
const ASSIGNMENT_FIELDS = ["alias", "version", "revision", "n"];
const OVERDUE_FIELDS = ["assignedSeq", "alias", "version", "limitMs", "n"];

/** `undefined` where the schema refuses it. Expects a value that came from JSON, and may answer that same object. */
export function readOutcomeBatch(value: unknown): OutcomeBatch | undefined {
  if (!isObject(value)) return undefined;
  const { type, seq, assigned, overdue, items } = value;
  if (type !== "outcomes" || !isInt(seq, 1)) return undefined;
  if (!Array.isArray(items) || items.length > MAX_BATCH_ITEMS) return undefined;
  const groups = readAll(assigned, MAX_BATCH_ASSIGNMENTS, readAssignment);
  if (groups === undefined) return undefined;
  if (overdue === undefined) return { type, seq, assigned: groups, items };
  const overdueRuns = readAll(overdue, MAX_BATCH_ASSIGNMENTS, readOverdue);
  return overdueRuns && { type, seq, assigned: groups, overdue: overdueRuns, items };
}

/** `undefined` where the schema refuses it. Expects a value that came from JSON, and may answer that same object. */
export function readStreamOutcome(value: unknown): StreamOutcome | undefined {
  if (!isObject(value)) return undefined;
  const known = knownFields(value);
  if (known < 0) return undefined;
  if (known === fieldsOf(value)) return value as StreamOutcome;
  if (value.source !== undefined) return undefined;
  // A newer runtime's fields are dropped.
  return picked(value, OUTCOME_FIELDS) as StreamOutcome;
}

/** Whether the known fields of an outcome are as the schema asks; those that are `undefined` are as if they were not there. */
export function isStreamOutcome(value: Fields): value is StreamOutcome {
  return knownFields(value) >= 0;
}

/** How many of the outcome's fields there are; -1 where one of them is not as it should be. */
function knownFields(value: Fields): number {
  const { runId, alias, version, status, assignedSeq } = value;
  if (!isText(runId, MAX_SHORT_TEXT_LENGTH) || runId === "" || !isInt(assignedSeq, 1)) return -1;
  if (!isName(alias, MAX_NAME_LENGTH, NAME) || !isName(version, MAX_VERSION_ID_LENGTH, VERSION_ID)) return -1;
  if (typeof status !== "string" || !STATUSES.has(status)) return -1;
  let known = 5;
  const { durationMs, toolCalls, toolErrors, costUsd, inputTokens, outputTokens, startedAt, endedAt } = value;
  if (durationMs !== undefined) {
    if (!isNumber(durationMs, MAX_RUN_MS)) return -1;
    known += 1;
  }
  if (toolCalls !== undefined) {
    if (!isInt(toolCalls, 0, MAX_RUN_COUNT)) return -1;
    known += 1;
  }
  if (toolErrors !== undefined) {
    if (!isInt(toolErrors, 0, MAX_RUN_COUNT) || toolErrors > ((toolCalls as number | undefined) ?? toolErrors))
      return -1;
    known += 1;
  }
  if (costUsd !== undefined) {
    if (!isNumber(costUsd, MAX_RUN_COST_USD)) return -1;
    known += 1;
  }
  if (inputTokens !== undefined) {
    if (!isInt(inputTokens, 0)) return -1;
    known += 1;
  }
  if (outputTokens !== undefined) {
    if (!isInt(outputTokens, 0)) return -1;
    known += 1;
  }
  if (startedAt !== undefined) {
    if (!isTimestamp(startedAt)) return -1;
    known += 1;
  }
  if (endedAt !== undefined) {
    if (!isTimestamp(endedAt)) return -1;
    known += 1;
  }
  const rarer = rarerFields(value);
  return rarer < 0 ? -1 : known + rarer;
}

function rarerFields(value: Fields): number {
  const { arm, errorType, errorOrigin, writes, blockedWrites, quality, conversationId, traceId } = value;
  let known = 0;
  if (arm !== undefined) {
    if (arm !== "candidate" && arm !== "stable") return -1;
    known += 1;
  }
  if (errorType !== undefined) {
    if (!isText(errorType, MAX_SHORT_TEXT_LENGTH)) return -1;
    known += 1;
  }
  if (errorOrigin !== undefined) {
    if (typeof errorOrigin !== "string" || !ERROR_ORIGINS.has(errorOrigin)) return -1;
    known += 1;
  }
  if (writes !== undefined) {
    if (!isInt(writes, 0, MAX_RUN_COUNT)) return -1;
    known += 1;
  }
  if (blockedWrites !== undefined) {
    if (!isInt(blockedWrites, 0, MAX_RUN_COUNT)) return -1;
    known += 1;
  }
  if (quality !== undefined) {
    if (!isNumber(quality, 1)) return -1;
    known += 1;
  }
  if (conversationId !== undefined) {
    if (!isText(conversationId, MAX_SHORT_TEXT_LENGTH)) return -1;
    known += 1;
  }
  if (traceId !== undefined) {
    if (!isText(traceId, MAX_KEY_LENGTH)) return -1;
    known += 1;
  }
  const { isDefault, drill, safetyFlags, attributes, metrics, overdueLimitsMs } = value;
  if (isDefault !== undefined) {
    if (typeof isDefault !== "boolean") return -1;
    known += 1;
  }
  if (drill !== undefined) {
    if (typeof drill !== "boolean") return -1;
    known += 1;
  }
  if (safetyFlags !== undefined) {
    if (!isArrayOf(safetyFlags, MAX_ATTRIBUTES, isSafetyFlag)) return -1;
    known += 1;
  }
  if (overdueLimitsMs !== undefined) {
    if (!isArrayOf(overdueLimitsMs, MAX_GUARDRAILS, Number.isFinite)) return -1;
    known += 1;
  }
  if (attributes !== undefined) {
    if (!isRecordOf(attributes, MAX_ATTRIBUTES, isShortText)) return -1;
    known += 1;
  }
  if (metrics !== undefined) {
    if (!isRecordOf(metrics, MAX_METRICS, Number.isFinite)) return -1;
    known += 1;
  }
  return known;
}

/** `undefined` where the schema refuses it. */
export function readAssignment(value: Fields): Assignment | undefined {
  const { alias, version, revision, n } = value;
  if (!isName(alias, MAX_NAME_LENGTH, NAME) || !isName(version, MAX_VERSION_ID_LENGTH, VERSION_ID)) return undefined;
  if (!isInt(revision, 0) || !isInt(n, 1, MAX_GROUP_RUNS)) return undefined;
  return (fieldsOf(value) === ASSIGNMENT_FIELDS.length ? value : picked(value, ASSIGNMENT_FIELDS)) as Assignment;
}

function readOverdue(value: Fields): Overdue | undefined {
  const { assignedSeq, alias, version, limitMs, n } = value;
  if (!isName(alias, MAX_NAME_LENGTH, NAME) || !isName(version, MAX_VERSION_ID_LENGTH, VERSION_ID)) return undefined;
  if (!isInt(assignedSeq, 1) || !isInt(n, 1, MAX_GROUP_RUNS)) return undefined;
  if (!isNumber(limitMs, Number.MAX_VALUE) || limitMs === 0) return undefined;
  return (fieldsOf(value) === OVERDUE_FIELDS.length ? value : picked(value, OVERDUE_FIELDS)) as Overdue;
}

/** Answers the same array, of which those items are replaced that hold fields nobody knows. */
function readAll<Item>(values: unknown, max: number, read: (value: Fields) => Item | undefined): Item[] | undefined {
  if (!Array.isArray(values) || values.length > max) return undefined;
  let items: Item[] = values;
  for (let i = 0; i < values.length; i++) {
    const value: unknown = values[i];
    const item = isObject(value) ? read(value) : undefined;
    if (item === undefined) return undefined;
    if (item === value) continue;
    if (items === values) items = values.slice();
    items[i] = item;
  }
  return items;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(value: object): number {
  let fields = 0;
  for (const _ in value) fields += 1;
  return fields;
}

function picked(value: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.flatMap((name) => (value[name] === undefined ? [] : [[name, value[name]]])));
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === "string" && value.length <= maxLength;
}

function isShortText(value: unknown): value is string {
  return isText(value, MAX_SHORT_TEXT_LENGTH);
}

function isInt(value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}

/** From 0. Infinity, as JSON's 1e999 is read, is none. */
function isNumber(value: unknown, max: number): value is number {
  return typeof value === "number" && value >= 0 && value <= max;
}

function isArrayOf(value: unknown, max: number, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= max && value.every((item) => isItem(item));
}

function isRecordOf(value: unknown, max: number, isValue: (item: unknown) => boolean): value is Fields {
  if (!isObject(value) || fieldsOf(value) > max) return false;
  // The schema drops a `__proto__`; that is left to it.
  for (const key in value) if (key.length > MAX_KEY_LENGTH || key === "__proto__" || !isValue(value[key])) return false;
  return true;
}

function isSafetyFlag(value: unknown): boolean {
  return SafetyFlag.safeParse(value).success;
}

/** Letters and digits, which every name may begin with. */
const ALPHANUMERIC = charactersOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
/** What `Name` and `VersionId` may go on with. */
const NAME = charactersOf("._-", ALPHANUMERIC);
const VERSION_ID = charactersOf("._:@/+-", ALPHANUMERIC);

function isName(value: unknown, maxLength: number, rest: Uint8Array): value is string {
  if (typeof value !== "string" || value.length === 0 || value.length > maxLength) return false;
  if (ALPHANUMERIC[value.charCodeAt(0)] !== 1) return false;
  for (let i = 1; i < value.length; i++) if (rest[value.charCodeAt(i)] !== 1) return false;
  return true;
}

/** A 1 for each character's code. */
function charactersOf(characters: string, more?: Uint8Array): Uint8Array {
  const table = more === undefined ? new Uint8Array(128) : Uint8Array.from(more);
  for (const character of characters) table[character.charCodeAt(0)] = 1;
  return table;
}

/** As `Date` writes it, on a day that every month has; all else is asked of the schema. */
const USUAL_TIMESTAMP = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

function isTimestamp(value: unknown): boolean {
  if (typeof value !== "string") return false;
  return USUAL_TIMESTAMP.test(value) || Timestamp.safeParse(value).success;
}
