/**
 * From what an agent reports to an outcome that the server accepts. A bad detail costs the detail, not the outcome: an
 * announced run without an outcome counts as missing, and missing is bad.
 */
import { randomUUID } from "node:crypto";
import { Outcome } from "@flagback/schemas";
import type { Assignment } from "./assignments.ts";

/** What an agent can say about how a run went; flagback fills in the rest. */
export type OutcomeDetails = Partial<
  Omit<Outcome, "runId" | "alias" | "version" | "arm" | "isDefault" | "conversationId">
>;

export type CheckedOutcome =
  | {
      readonly kind: "outcome";
      readonly outcome: Outcome;
      readonly problems: readonly string[];
      /** False where the reported status can't be used: how the run went is not known. */
      readonly isEndKnown: boolean;
    }
  /** The alias or the version itself can't be: no server knows such a run. */
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

type Fields = Record<string, unknown>;

/** The event that `client.track` reports a run with. */
export const OUTCOME_EVENT = "agent.run.outcome";
/** The schema's limit of a run id, in characters. */
export const MAX_RUN_ID_LENGTH = 128;
/** How a run ended whose status nobody can read: settled, and no evidence for or against its version. */
const UNKNOWN_END = { status: "cancelled", errorType: "invalid_outcome", errorOrigin: "client" } as const;
/** Stands for a value whose getter throws, so that the schema refuses it by name. */
const UNREADABLE = Symbol("unreadable");

/**
 * Checks what was reported about a run on an assignment. What the schema refuses is left out and named in `problems`: a bad
 * run id is replaced by a random one, a bad status by a cancellation that counts for nothing. Copies everything.
 */
export function checkOutcome({ alias, version }: Assignment, reported: unknown): CheckedOutcome {
  const fields: Fields = { ...fieldsOf(reported), alias, version };
  const problems: string[] = [];
  let isEndKnown = true;
  // Each round removes or replaces at least one field; few rules look at two fields, so two rounds are the most there are.
  for (;;) {
    const checked = parse(fields);
    if (checked.kind === "outcome") return { ...checked, problems, isEndKnown };
    problems.push(...checked.problems);
    for (const field of checked.refused) {
      if (field === "alias" || field === "version") return { kind: "invalid", problems };
      if (field === "runId") fields.runId = randomUUID();
      else if (field !== "status") delete fields[field];
      else {
        isEndKnown = false;
        Object.assign(fields, UNKNOWN_END);
      }
    }
  }
}

export function isRunId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= MAX_RUN_ID_LENGTH;
}

/** A shallow copy of what somebody reported. Never throws, whatever it is. */
export function fieldsOf(reported: unknown): Fields {
  const fields: Fields = {};
  if (typeof reported !== "object" || reported === null) return fields;
  try {
    for (const field of Object.keys(reported)) {
      const value = read(reported, field);
      if (value !== undefined) fields[field] = value;
    }
  } catch {
    // A proxy that doesn't tell its keys says nothing.
  }
  return fields;
}

function read(record: object, field: string): unknown {
  try {
    return (record as Fields)[field];
  } catch {
    return UNREADABLE;
  }
}

function parse(fields: Fields) {
  try {
    const parsed = Outcome.safeParse(fields);
    if (parsed.success) return { kind: "outcome", outcome: parsed.data } as const;
    const { issues } = parsed.error;
    return {
      kind: "refused",
      problems: issues.map((issue) => `${issue.path.join(".") || "outcome"}: ${issue.message}`),
      refused: issues.flatMap((issue) =>
        issue.code === "unrecognized_keys" ? issue.keys : [String(issue.path[0] ?? "status")],
      ),
    } as const;
  } catch {
    // Something inside a field throws when it is looked at. Only fields that hold objects can.
    const refused = Object.keys(fields).filter((field) => typeof fields[field] === "object");
    return { kind: "refused", problems: refused.map((field) => `${field}: it can't be read`), refused } as const;
  }
}
