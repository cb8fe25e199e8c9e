/**
 * Everything that evaluations read. A change swaps it in one step, so that an alias and a kill switch that are read in one
 * breath come from one revision. What an entry answers is made when it is first read, and handed out from then on.
 */
import { applyDelta, changedKeys, type Documents, documentsOf } from "@flagback/core/evaluation";
import type { Delta, RuntimeDocument, Snapshot } from "@flagback/schemas";
import { type AliasEntry, aliasEntry } from "./alias-entry.ts";
import { type FlagEntry, flagEntry } from "./flag-entry.ts";
import { type SwitchEntry, switchEntry } from "./switch-entry.ts";

export type Entry = AliasEntry | SwitchEntry | FlagEntry;

export class HeldSnapshot {
  #revision: number | null = null;
  #documents: Documents = documentsOf([]);
  /** Whether this process ever had a lease for what it holds. */
  #isConfirmed = true;
  /** Entries that were read since their document last changed. */
  readonly #rendered = new Map<string, Entry>();

  /** Null before the first snapshot. */
  get revision(): number | null {
    return this.#revision;
  }

  get documents(): Documents {
    return this.#documents;
  }

  entry(key: string): Entry | undefined {
    return this.#rendered.get(key) ?? this.#render(key);
  }

  /** Swaps to what a change makes of it, and says which keys are different. Only those are rendered again. */
  swap(change: Snapshot | Delta): readonly string[] {
    const { documents, changed } = this.#after(change);
    this.#documents = documents;
    this.#revision = change.revision;
    for (const key of changed) this.#rendered.delete(key);
    return changed;
  }

  /**
   * Holds what another process held. Until it is confirmed every alias answers its stable: `onLeaseLapse: last` speaks of a
   * split that a process saw live itself.
   */
  restore(revision: number, documents: readonly RuntimeDocument[]): void {
    this.#revision = revision;
    this.#documents = documentsOf(documents);
    this.#isConfirmed = false;
    this.#rendered.clear();
  }

  /** The server has granted a lease for what is held. */
  confirm(): void {
    if (this.#isConfirmed) return;
    this.#isConfirmed = true;
    this.#rendered.clear();
  }

  #after(change: Snapshot | Delta): { readonly documents: Documents; readonly changed: readonly string[] } {
    switch (change.type) {
      case "delta": {
        const changed = [...new Set([...change.delete, ...change.put].map(({ key }) => key))];
        return { documents: applyDelta(this.#documents, change), changed };
      }
      case "snapshot": {
        const documents = documentsOf(change.documents);
        return { documents, changed: changedKeys(this.#documents, documents) };
      }
    }
  }

  #render(key: string): Entry | undefined {
    const document = this.#documents.get(key);
    if (document === undefined) return undefined;
    const entry = entryOf(document, this.#isConfirmed);
    this.#rendered.set(key, entry);
    return entry;
  }
}

function entryOf(document: RuntimeDocument, isConfirmed: boolean): Entry {
  switch (document.kind) {
    case "alias":
      return aliasEntry(isConfirmed ? document : { ...document, onLeaseLapse: "stable" });
    case "killSwitch":
      return switchEntry(document);
    case "flag":
      return flagEntry(document);
  }
}
