/**
 * Everything that evaluations read, in one immutable value: swapped as a whole, so that an alias and a kill switch read in
 * one breath come from one revision.
 */
import { applyDelta, changedKeys, type Documents, documentsOf } from "@flagback/core/evaluation";
import type { Delta, RuntimeDocument, Snapshot as SnapshotMessage } from "@flagback/schemas";
import { type AliasEntry, aliasEntry } from "./alias-entry.ts";
import { type FlagEntry, flagEntry } from "./flag-entry.ts";
import { type SwitchEntry, switchEntry } from "./switch-entry.ts";

export type Entry = AliasEntry | SwitchEntry | FlagEntry;

export interface HeldSnapshot {
  readonly revision: number;
  readonly documents: Documents;
  readonly entries: ReadonlyMap<string, Entry>;
}

/** The next snapshot, and the keys that are different in it. Only what changed is rendered again. */
export function nextSnapshot(
  held: HeldSnapshot | null,
  change: SnapshotMessage | Delta,
): { readonly snapshot: HeldSnapshot; readonly changed: readonly string[] } {
  if (change.type === "delta") {
    const documents = applyDelta(held?.documents ?? new Map(), change);
    const changed = [...new Set([...change.delete, ...change.put].map(({ key }) => key))];
    return { snapshot: render(held, documents, changed, change.revision), changed };
  }
  const documents = documentsOf(change.documents);
  const changed = changedKeys(held?.documents ?? new Map(), documents);
  return { snapshot: render(held, documents, changed, change.revision), changed };
}

function render(
  held: HeldSnapshot | null,
  documents: Documents,
  changed: readonly string[],
  revision: number,
): HeldSnapshot {
  const entries = new Map(held?.entries);
  for (const key of changed) {
    const document = documents.get(key);
    if (document) entries.set(key, entryOf(document));
    else entries.delete(key);
  }
  return { revision, documents, entries };
}

function entryOf(document: RuntimeDocument): Entry {
  switch (document.kind) {
    case "alias":
      return aliasEntry(document);
    case "killSwitch":
      return switchEntry(document);
    case "flag":
      return flagEntry(document);
  }
}
