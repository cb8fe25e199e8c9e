/**
 * How two versions differ, for people who decide on a rollout or look for what broke one.
 */
import type { Version, VersionDiff } from "@flagback/schemas";
import { MAX_CHANGES, payloadChanges } from "./payload-diff.ts";
import { textDiff } from "./text-diff.ts";

/** A single line that is longer than this is compared by words too. */
const LONG_LINE = 40;

export function versionDiff(from: Version, to: Version): VersionDiff {
  const changes = payloadChanges(from.payload, to.payload);
  return {
    from: described(from),
    to: described(to),
    isSamePayload: from.digest === to.digest || changes.length === 0,
    changes: changes.slice(0, MAX_CHANGES).map((change) => ({
      op: !("from" in change) ? ("add" as const) : !("to" in change) ? ("remove" as const) : ("replace" as const),
      ...change,
      ...(isText(change.from) && isText(change.to) && isLong(change.from, change.to)
        ? { lines: textDiff(change.from, change.to) }
        : {}),
    })),
    omitted: Math.max(0, changes.length - MAX_CHANGES),
  };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isLong(from: string, to: string): boolean {
  return [from, to].some((text) => text.includes("\n") || text.length > LONG_LINE);
}

function described({ id, alias, kind, digest, labels, notes, createdAt, createdBy, retiredAt }: Version) {
  const retired = retiredAt === undefined ? {} : { retiredAt };
  return { id, alias, kind, digest, labels, notes, createdAt, createdBy, ...retired };
}
