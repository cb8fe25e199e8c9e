/**
 * How two versions differ, for people who decide on a rollout or look for what broke one.
 */
import type { PayloadChange, Version, VersionDiff } from "@flagback/schemas";
import { MAX_CHANGES, payloadChanges } from "./payload-diff.ts";
import { textDiff } from "./text-diff.ts";

/** A single line that is longer than this is compared by words too. */
const LONG_LINE = 40;
/** Texts that are compared line by line, so that an answer takes no second of the server's; of others both are told whole. */
const MAX_TEXTS = 10;

export function versionDiff(from: Version, to: Version): VersionDiff {
  const changes = payloadChanges(from.payload, to.payload);
  const texts = new Set(changes.filter(isText).slice(0, MAX_TEXTS));
  return {
    from: described(from),
    to: described(to),
    isSamePayload: from.digest === to.digest || changes.length === 0,
    changes: changes.slice(0, MAX_CHANGES).map((change) => ({
      op: opOf(change),
      ...change,
      ...(isText(change) && texts.has(change) ? { lines: textDiff(change.from, change.to) } : {}),
    })),
    omitted: Math.max(0, changes.length - MAX_CHANGES),
  };
}

function opOf(change: PayloadChange): VersionDiff["changes"][number]["op"] {
  if (!("from" in change)) return "add";
  return "to" in change ? "replace" : "remove";
}

/** Whether a text became another, and reading both would not show at a glance how. */
function isText(change: PayloadChange): change is PayloadChange & { readonly from: string; readonly to: string } {
  const sides = [change.from, change.to];
  return (
    sides.every((side) => typeof side === "string") &&
    sides.some((side) => side.includes("\n") || side.length > LONG_LINE)
  );
}

function described({ id, alias, kind, digest, labels, notes, createdAt, createdBy, retiredAt }: Version) {
  const retired = retiredAt === undefined ? {} : { retiredAt };
  return { id, alias, kind, digest, labels, notes, createdAt, createdBy, ...retired };
}
