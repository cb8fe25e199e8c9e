/**
 * The set of documents that a runtime holds, and what a change does to it.
 */
import type { Delta, RuntimeDocument } from "@flagback/schemas";
import { PersistentMap } from "./persistent-map.ts";

/** Documents by key. Keys are unique across kinds, because each is an OpenFeature flag key. */
export type Documents = PersistentMap<RuntimeDocument>;

/** A snapshot's documents by key. */
export function documentsOf(documents: readonly RuntimeDocument[]): Documents {
  return new PersistentMap(documents.map((document) => [document.key, document]));
}

/** The documents after a delta. Deletes come first, so that a key can change its kind in one change. Pure. */
export function applyDelta(documents: Documents, delta: Pick<Delta, "put" | "delete">): Documents {
  const changes = new Map<string, RuntimeDocument | undefined>();
  for (const { kind, key } of delta.delete) {
    if (documents.get(key)?.kind === kind) changes.set(key, undefined);
  }
  for (const document of delta.put) changes.set(document.key, document);
  return documents.with(changes);
}

/** Keys whose document appeared, went away or is different. Content decides: revisions of two databases don't compare. */
export function changedKeys(before: Documents, after: Documents): string[] {
  const changed: string[] = [];
  for (const [key, document] of after) {
    if (!sameJson(before.get(key), document)) changed.push(key);
  }
  for (const key of before.keys()) if (!after.has(key)) changed.push(key);
  return changed;
}

/** Whether two JSON values say the same, whatever the order of their members. */
function sameJson(a: unknown, b: unknown): boolean {
  if (!isObject(a) || !isObject(b)) return a === b;
  const names = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
