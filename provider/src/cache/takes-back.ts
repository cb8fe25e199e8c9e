/**
 * Whether a change takes back something that a cache file of before it would still serve at a cold start: without a lease an
 * alias answers its stable version, and a switch whose fail-safe doesn't engage its last value.
 */
import type { Documents } from "@flagback/core/evaluation";
import type { Delta, RuntimeDocument, Snapshot } from "@flagback/schemas";

/** @param documents what is held before the change; only looked up, so that no generation of it is rebuilt */
export function takesBack(documents: Documents, change: Snapshot | Delta): boolean {
  switch (change.type) {
    case "delta": {
      const put = new Map(change.put.map((document) => [document.key, document]));
      const touched = [...put.keys(), ...change.delete.map(({ key }) => key)];
      return touched.some((key) => isTakenBack(documents.get(key), put.get(key)));
    }
    case "snapshot": {
      const next = new Map(change.documents.map((document) => [document.key, document]));
      return [...documents.values()].some((document) => isTakenBack(document, next.get(document.key)));
    }
  }
}

function isTakenBack(held: RuntimeDocument | undefined, next: RuntimeDocument | undefined): boolean {
  switch (held?.kind) {
    case "alias": {
      if (held.stable === null) return false;
      return next?.kind !== "alias" || next.stable !== held.stable || Object.hasOwn(next.revoked, held.stable);
    }
    case "killSwitch": {
      if (held.failSafe.engage) return false;
      if (next?.kind !== "killSwitch" || next.failSafe.engage) return true;
      const scopes = new Set(held.engaged.map((entry) => entry.scope));
      return next.engaged.some((entry) => !scopes.has(entry.scope));
    }
    case "flag":
    case undefined:
      return false;
  }
}
