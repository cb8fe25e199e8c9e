/**
 * What a session is sent: one encoding for each (token scope, from, to), shared by all sessions that need it.
 */
import { projected, runtimeDocuments } from "@flagback/core";
import { type Delta, type DocumentRef, isDrillName, type RuntimeDocument, type Snapshot } from "@flagback/schemas";
import type { Engine } from "../engine/engine.ts";
import { textFrame } from "./text-frame.ts";

/** Encodings kept for the current head: sessions behind it by different amounts, and tokens of different scopes. */
const MAX_CACHED_FRAMES = 64;

/** The aliases that a token may see; an empty list means all. */
export type AliasScope = readonly string[];

export class Frames {
  readonly #engine: Engine;
  readonly #cache = new Map<string, Buffer>();
  #cachedRevision = -1;
  /** What the last session was sent: nearly always what the next one needs. */
  #last: { readonly from: number; readonly scope: AliasScope; readonly frame: Buffer } | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Everything, as of the head, as a frame to write. */
  snapshot(scope: AliasScope): Buffer {
    return this.#cached(`snapshot ${scope.join(" ")}`, () => {
      const { epoch, head } = this.#engine.history;
      const documents = runtimeDocuments(this.#engine.world).filter((document) => isVisible(document, scope));
      return { type: "snapshot", epoch, ...headOf(head), documents } satisfies Snapshot;
    });
  }

  /** What leads from a revision to the head; a snapshot where the ring no longer reaches back so far. */
  since(from: number, scope: AliasScope): Buffer {
    const last = this.#last;
    if (last && last.from === from && last.scope === scope && this.#isCurrent) return last.frame;
    const frame = this.#since(from, scope);
    this.#last = { from, scope, frame };
    return frame;
  }

  #since(from: number, scope: AliasScope): Buffer {
    const touched = this.#engine.history.touchedSince(from);
    if (!touched) return this.snapshot(scope);
    return this.#cached(`delta ${from} ${scope.join(" ")}`, () => {
      const put: RuntimeDocument[] = [];
      const deleted: DocumentRef[] = [];
      // A change that a scoped token may not see reaches it as an empty delta, so that its cursor and its leases advance.
      for (const { kind, key } of touched.filter((each) => isVisible(each, scope))) {
        const document = projected(this.#engine.world, kind, key);
        if (document) put.push(document);
        else deleted.push({ kind, key });
      }
      return { type: "delta", from, ...headOf(this.#engine.history.head), put, delete: deleted } satisfies Delta;
    });
  }

  get #isCurrent(): boolean {
    return this.#cachedRevision === this.#engine.history.head.revision;
  }

  #cached(key: string, build: () => Snapshot | Delta): Buffer {
    if (!this.#isCurrent || this.#cache.size >= MAX_CACHED_FRAMES) {
      this.#cache.clear();
      this.#last = undefined;
    }
    this.#cachedRevision = this.#engine.history.head.revision;
    const found = this.#cache.get(key);
    if (found !== undefined) return found;
    const frame = textFrame(JSON.stringify(build()));
    this.#cache.set(key, frame);
    return frame;
  }
}

/** What belongs to a drill is for tokens that name its alias, which are those of the drill. */
export function mayUseAlias(scope: AliasScope, alias: string): boolean {
  return (scope.length === 0 && !isDrillName(alias)) || scope.includes(alias);
}

function isVisible({ kind, key }: Pick<RuntimeDocument, "kind" | "key">, scope: AliasScope): boolean {
  if (kind === "alias") return mayUseAlias(scope, key);
  return !isDrillName(key) || scope.some((alias) => key.startsWith(`${alias}.`));
}

function headOf({ revision, mark }: { readonly revision: number; readonly mark: string }) {
  return { revision, mark };
}
