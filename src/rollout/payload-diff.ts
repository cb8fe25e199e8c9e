/**
 * What differs between two payloads, leaf by leaf.
 */
import type { PayloadChange } from "@flagback/schemas";

/** Differences beyond it are left out: a report is for people. */
export const MAX_CHANGES = 100;
/** Characters of a text that are kept. */
const MAX_TEXT_CHARACTERS = 4_000;

/** From one payload to the other, in the order of keys, and no more than a report needs. */
export function payloadDiff(from: unknown, to: unknown): PayloadChange[] {
  return payloadChanges(from, to)
    .slice(0, MAX_CHANGES)
    .map(({ path, ...sides }) => ({
      path,
      ...("from" in sides ? { from: cut(sides.from) } : {}),
      ...("to" in sides ? { to: cut(sides.to) } : {}),
    }));
}

/** Every difference, whole. */
export function payloadChanges(from: unknown, to: unknown): PayloadChange[] {
  return changesAt("", from, to);
}

function changesAt(path: string, from: unknown, to: unknown): PayloadChange[] {
  if (isBranch(from) && isBranch(to) && Array.isArray(from) === Array.isArray(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
    return keys.flatMap((key) => changesAt(`${path}/${pointerPart(key)}`, own(from, key), own(to, key)));
  }
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  return [{ path, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }];
}

function isBranch(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function own(value: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

function pointerPart(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

function cut(value: unknown): unknown {
  if (typeof value !== "string") {
    const text = JSON.stringify(value);
    return text.length <= MAX_TEXT_CHARACTERS ? value : `${text.slice(0, MAX_TEXT_CHARACTERS)}…`;
  }
  return value.length <= MAX_TEXT_CHARACTERS ? value : `${value.slice(0, MAX_TEXT_CHARACTERS)}…`;
}
