/**
 * From what an agent reports to an outcome that the server accepts. A bad detail costs the detail, not the outcome.
 */
import { Outcome } from "@flagback/schemas";

/** What an agent can say about how a run went; flagback fills in the rest. */
export type OutcomeDetails = Partial<
  Omit<Outcome, "runId" | "alias" | "version" | "arm" | "isDefault" | "conversationId">
>;

export type CheckedOutcome =
  | { readonly kind: "outcome"; readonly outcome: Outcome; readonly problems: readonly string[] }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

const NEEDED = new Set(["runId", "alias", "version", "status"]);

/** Checks a reported outcome. Fields that the schema refuses are left out and named in `problems`. Copies everything. */
export function checkOutcome(reported: Readonly<Record<string, unknown>>): CheckedOutcome {
  const first = Outcome.safeParse(withoutUndefined(reported));
  if (first.success) return { kind: "outcome", outcome: first.data, problems: [] };
  const problems = first.error.issues.map((issue) => `${issue.path.join(".") || "outcome"}: ${issue.message}`);
  const refused = new Set(
    first.error.issues.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : [String(issue.path[0])])),
  );
  if ([...refused].some((field) => NEEDED.has(field))) return { kind: "invalid", problems };
  const rest = Object.entries(reported).filter(([field, value]) => value !== undefined && !refused.has(field));
  const second = Outcome.safeParse(Object.fromEntries(rest));
  return second.success ? { kind: "outcome", outcome: second.data, problems } : { kind: "invalid", problems };
}

function withoutUndefined(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
