/**
 * What each revision permits, and between which moments a runtime may have gone by it. Pure.
 */
import type { Permissions } from "./permissions.ts";

/** One revision of the history. */
export interface Moment {
  readonly revision: number;
  readonly permissions: Permissions;
  /** It can't have been there earlier: when it was asked for. */
  readonly notBeforeMs: number;
}

/** Revisions from `from` up to, and without, `to` permit something. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly notBeforeMs: number;
}

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** When a revision was there at the latest, by whoever was seen to have it first. */
export class Sightings {
  readonly #sorted: readonly { readonly atMs: number; readonly revision: number }[];

  constructor(sightings: readonly { readonly atMs: number; readonly revision: number }[]) {
    let highest = Number.NEGATIVE_INFINITY;
    this.#sorted = sightings
      .toSorted((a, b) => a.atMs - b.atMs)
      .filter(({ revision }) => {
        const isNew = revision > highest;
        highest = Math.max(highest, revision);
        return isNew;
      });
  }

  /** Infinity where nobody was ever seen to have it. */
  firstMs(revision: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle]?.revision ?? 0) >= revision) high = middle;
      else low = middle + 1;
    }
    return this.#sorted[low]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  get highest(): number {
    return this.#sorted.at(-1)?.revision ?? 0;
  }
}

/** Where one permission holds, in a history's revisions. */
export class PermissionWindows {
  readonly #stretches: readonly Stretch[];
  readonly #sightings: Sightings;

  constructor(moments: readonly Moment[], sightings: Sightings, permits: (permissions: Permissions) => boolean) {
    this.#sightings = sightings;
    const stretches: Stretch[] = [];
    let begun: Moment | undefined;
    for (const moment of moments) {
      const isPermitted = permits(moment.permissions);
      if (isPermitted) begun ??= moment;
      else if (begun) {
        stretches.push({ from: begun.revision, to: moment.revision, notBeforeMs: begun.notBeforeMs });
        begun = undefined;
      }
    }
    if (begun) {
      stretches.push({ from: begun.revision, to: Number.POSITIVE_INFINITY, notBeforeMs: begun.notBeforeMs });
    }
    this.#stretches = stretches;
  }

  /**
   * Spans in which a runtime that had acknowledged a revision may go by the permission: it holds that revision or a later one
   * that was there already, and for no longer than `graceMs` after a commit that took the permission away.
   */
  after(acknowledged: number, graceMs: number): Span[] {
    return this.#stretches
      .filter(({ to }) => to > acknowledged)
      .map(({ to, notBeforeMs }) => ({
        fromMs: notBeforeMs,
        toMs: Number.isFinite(to) ? this.#sightings.firstMs(to) + graceMs : Number.POSITIVE_INFINITY,
      }));
  }
}

/** The first moment of a span that none of the others holds; null where they hold all of it. */
export function firstOutside({ fromMs, toMs }: Span, spans: readonly Span[]): number | null {
  let coveredMs = fromMs;
  let hasBegun = false;
  for (const span of spans.toSorted((a, b) => a.fromMs - b.fromMs)) {
    if (span.fromMs > coveredMs) break;
    if (span.toMs < coveredMs) continue;
    hasBegun = true;
    coveredMs = span.toMs;
  }
  if (!hasBegun) return fromMs;
  return coveredMs >= toMs ? null : coveredMs;
}
