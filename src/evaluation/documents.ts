/**
 * The set of documents that a runtime holds, and what a change does to it.
 */
import type { Delta, RuntimeDocument } from "@flagback/schemas";

/** Documents by key. Keys are unique across kinds, because each is an OpenFeature flag key. */
export type Documents = ReadonlyMap<string, RuntimeDocument>;

/** A snapshot's documents by key. */
export function documentsOf(documents: readonly RuntimeDocument[]): Documents {
  return new Map(documents.map((document) => [document.key, document]));
}

/** The documents after a delta. Deletes come first, so that a key can change its kind in one change. Pure. */
export function applyDelta(documents: Documents, delta: Pick<Delta, "put" | "delete">): Documents {
  const next = new Map(documents);
  for (const ref of delta.delete) {
    if (next.get(ref.key)?.kind === ref.kind) next.delete(ref.key);
  }
  for (const document of delta.put) next.set(document.key, document);
  return next;
}

/** Keys whose document appeared, went away or is different. Content decides: revisions of two databases don't compare. */
export function changedKeys(before: Documents, after: Documents): string[] {
  const changed: string[] = [];
  for (const [key, document] of after) {
    const previous = before.get(key);
    if (previous !== document && !sameDocument(previous, document)) changed.push(key);
  }
  for (const key of before.keys()) if (!after.has(key)) changed.push(key);
  return changed;
}

function sameDocument(a: RuntimeDocument | undefined, b: RuntimeDocument): boolean {
  return a !== undefined && a.revision === b.revision && JSON.stringify(a) === JSON.stringify(b);
}
