/**
 * What a trigger makes of the signals in one request.
 */
import { randomUUID } from "node:crypto";
import type { Command } from "@flagback/core";
import type { Trigger } from "@flagback/schemas";
import type { Signal } from "./signals.ts";

/** Characters of a sender's text that are kept in a reason. */
const MAX_SIGNAL_TEXT = 512;

export type Reading =
  | { readonly kind: "act"; readonly reason: string }
  /** Nothing is to be done; why, in a sentence. */
  | { readonly kind: "ignore"; readonly because: string };

/** One firing alert with all of the trigger's labels is enough. What is resolved releases nothing: people and proofs do. */
export function readingOf({ id, labels }: Pick<Trigger, "id" | "labels">, signals: readonly Signal[]): Reading {
  const firing = signals.filter(({ isFiring }) => isFiring);
  if (firing.length === 0)
    return { kind: "ignore", because: `Nothing fires: ${id} says that all is well, and releases nothing.` };
  const wanted = Object.entries(labels);
  const found = firing.find((signal) =>
    wanted.every(([name, value]) => Object.hasOwn(signal.labels, name) && signal.labels[name] === value),
  );
  if (!found) {
    const asked = wanted.map(([name, value]) => `${name}=${value}`).join(", ");
    return { kind: "ignore", because: `No alert that fires has the labels that ${id} asks for (${asked}).` };
  }
  return { kind: "act", reason: [`trigger:${id}`, shortened(found.text)].filter((part) => part !== "").join(": ") };
}

/** The command that carries a trigger's action out. */
export function commandOf({ action }: Pick<Trigger, "action">, reason: string): Command {
  switch (action.kind) {
    case "rollback":
      return { kind: "rollback", alias: action.alias, reason, signalled: action.reason };
    case "engage":
      return { kind: "engage", key: action.key, scope: action.scope, reason, entryId: randomUUID() };
    case "pause":
      return { kind: "pauseRollout", alias: action.alias, reason };
  }
}

/** On one line, because it is a reason among others in tables and alerts. */
function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  const characters = [...line];
  return characters.length <= MAX_SIGNAL_TEXT ? line : `${characters.slice(0, MAX_SIGNAL_TEXT - 1).join("")}…`;
}
