/**
 * The history checker: judges one round after the other, each from where the one before left the server. A round ends with
 * everything healed, so little has to be remembered. Pure.
 */
import { checkAlerts } from "./check-alerts.ts";
import { checkChanges, checkFeedback, checkState, checkTransactions } from "./check-changes.ts";
import { checkOutcomes, EMPTY_LEDGER, type Ledger } from "./check-outcomes.ts";
import { checkReads } from "./check-reads.ts";
import type { AuditRow, ChaosEvent, DatabaseFacts, Violation } from "./history.ts";
import { NOTHING_PERMITTED_OR_ENGAGED, type Permissions, permissionsAfter, requestIn } from "./permissions.ts";
import { type Moment, Sightings } from "./timeline.ts";

/** Where a round left the server, as far as it was judged. */
export interface Standing {
  readonly epoch: string;
  readonly revision: number;
  readonly permissions: Permissions;
  readonly ledger: Ledger;
  /** What each runtime had last said that it holds. */
  readonly applied: ReadonlyMap<string, number>;
  /** Ids of the alerts that told of each fact. */
  readonly told: ReadonlyMap<string, string>;
}

/** Where the first round begins: everything is set up, nothing was exposed, engaged or reported. */
export function standingAt(facts: DatabaseFacts): Standing {
  return {
    epoch: facts.epoch,
    revision: facts.revisions.at(-1) ?? 0,
    permissions: NOTHING_PERMITTED_OR_ENGAGED,
    ledger: EMPTY_LEDGER,
    applied: new Map(),
    told: new Map(),
  };
}

type EventOf<Kind extends ChaosEvent["kind"]> = Extract<ChaosEvent, { kind: Kind }>;

/** @param events of one round, which ends with the database's facts */
export function judge(
  before: Standing,
  events: readonly ChaosEvent[],
): { readonly violations: readonly Violation[]; readonly standing: Standing } {
  const all = <Kind extends ChaosEvent["kind"]>(kind: Kind): EventOf<Kind>[] =>
    events.filter((event): event is EventOf<Kind> => event.kind === kind);
  const facts = all("database").at(-1)?.facts;
  if (!facts) throw new Error("a round ends with what the database says");
  const asked = new Map(all("asked").map((event) => [event.id, event]));
  const answers = all("answered");
  const sightings = new Sightings([
    ...answers.flatMap(({ atMs, answer }) => ("revision" in answer ? [{ atMs, revision: answer.revision }] : [])),
    ...all("applied"),
    ...all("greeted"),
  ]);
  const moments = momentsOf(before, facts.audit, asked, answers);
  const last = moments.at(-1) as Moment;
  const outcomes = checkOutcomes(before.ledger, events, facts);
  const alerts = checkAlerts(before.told, all("alerted"), facts);
  const applied = checkApplied(before, all("applied"));
  const violations: Violation[] = [
    ...all("escaped").map(({ who, detail }): Violation => ({ rule: "escaped", detail: `${who}: ${detail}` })),
    ...all("notInStep").map(({ who, detail }): Violation => ({ rule: "not_in_step", detail: `${who}: ${detail}` })),
    ...applied.violations,
    ...checkHistory(before, facts, sightings),
    ...checkChanges(asked, answers, facts.audit),
    ...checkFeedback(answers, facts),
    ...checkTransactions(facts),
    ...checkState(last.permissions, facts),
    ...checkReads(all("read"), moments, sightings),
    ...outcomes.violations,
    ...alerts.violations,
  ];
  return {
    violations,
    standing: {
      epoch: facts.epoch,
      revision: facts.revisions.at(-1) ?? before.revision,
      permissions: last.permissions,
      ledger: outcomes.ledger,
      applied: applied.applied,
      told: alerts.told,
    },
  };
}

/** Every revision of the round, after the one that it began with. */
function momentsOf(
  before: Standing,
  rows: readonly AuditRow[],
  asked: ReadonlyMap<string, EventOf<"asked">>,
  answers: readonly EventOf<"answered">[],
): Moment[] {
  const requestOf = new Map(answers.map(({ id, answer }) => [answer.kind === "done" ? answer.auditId : null, id]));
  const moments: Moment[] = [
    { revision: before.revision, permissions: before.permissions, notBeforeMs: Number.NEGATIVE_INFINITY },
  ];
  let { permissions } = before;
  for (const row of rows.toSorted((a, b) => a.id - b.id)) {
    permissions = permissionsAfter(permissions, row);
    const request = requestOf.get(row.id) ?? requestIn(row.reason) ?? "";
    const last = moments.at(-1) as Moment;
    // What the brain does nobody asks for, but it comes after what came before it.
    const notBeforeMs = Math.max(last.notBeforeMs, asked.get(request)?.atMs ?? Number.NEGATIVE_INFINITY);
    moments.push({ revision: row.revision ?? last.revision, permissions, notBeforeMs });
  }
  return moments;
}

/** What a runtime says that it holds only grows. */
function checkApplied(
  before: Standing,
  events: readonly EventOf<"applied">[],
): { readonly violations: readonly Violation[]; readonly applied: ReadonlyMap<string, number> } {
  const applied = new Map(before.applied);
  const violations: Violation[] = [];
  for (const { instance, revision } of events) {
    const held = applied.get(instance) ?? 0;
    if (revision < held) {
      violations.push({ rule: "revision_went_back", detail: `${instance} held ${held}, and then ${revision}` });
    }
    applied.set(instance, Math.max(held, revision));
  }
  return { violations, applied };
}

/** The history goes on from where it was, without a gap, and as far as anybody was told. */
function checkHistory(before: Standing, facts: DatabaseFacts, sightings: Sightings): Violation[] {
  const violations: Violation[] = [];
  const wentBack = (detail: string) => violations.push({ rule: "revision_went_back", detail });
  if (facts.epoch !== before.epoch) wentBack(`epoch ${before.epoch} became ${facts.epoch}`);
  let { revision } = before;
  for (const next of facts.revisions) {
    if (next !== revision + 1) wentBack(`the history goes from ${revision} to ${next}`);
    revision = next;
  }
  if (sightings.highest > revision) wentBack(`${sightings.highest} was seen, and the history ends at ${revision}`);
  return violations;
}
