/**
 * Judges changes: each that was answered is in the audit log once, none is that was not asked for, revisions only grow, and
 * a change is there whole. Pure.
 */
import type { AuditRow, ChaosEvent, Command, DatabaseFacts, Violation } from "./history.ts";
import { holder, type Permissions, requestIn } from "./permissions.ts";

type Asked = Extract<ChaosEvent, { kind: "asked" }>;
type Answered = Extract<ChaosEvent, { kind: "answered" }>;

const ACTIONS: Readonly<Record<Command["kind"], string>> = {
  start: "rollout.start",
  forward: "rollout.forward",
  rollback: "rollback",
  unlock: "alias.unlock",
  engage: "kill_switch.engage",
  release: "kill_switch.release",
  stop: "stop",
  bulk: "alias.update",
  feedback: "",
  token: "token.create",
  webhook: "webhook.create",
  removeWebhook: "webhook.delete",
};

/** Says that a signal came again. Nobody asked for it as a change, and nothing was changed. */
const REPEATED = "rollback.repeated";

/** Changes that take something away from runtimes: losing one lets them go on. */
const KILLS: ReadonlySet<Command["kind"]> = new Set(["rollback", "engage", "stop"]);

/** @param known requests of this part of the history, by their id */
export function checkChanges(
  known: ReadonlyMap<string, Asked>,
  answers: readonly Answered[],
  rows: readonly AuditRow[],
): Violation[] {
  const violations: Violation[] = [];
  const byId = new Map(rows.map((row) => [row.id, row]));
  const claimed = new Map<number, string>();
  for (const { id, answer } of answers) {
    const asked = known.get(id);
    if (!asked) continue;
    const { command } = asked;
    if (answer.kind === "administered") {
      const made = rows.filter(({ action, target }) => action === ACTIONS[command.kind] && target === answer.target);
      for (const row of made) claimed.set(row.id, id);
      if (made.length === 0)
        violations.push({ rule: "change_lost", detail: `${describe(asked)} was answered, no row says so` });
      if (made.length > 1)
        violations.push({ rule: "change_doubled", detail: `${describe(asked)} has ${made.length} rows` });
    }
    if (answer.kind !== "done") continue;
    const row = byId.get(answer.auditId);
    if (row?.action !== ACTIONS[command.kind]) {
      const rule = KILLS.has(command.kind) ? "kill_lost" : "change_lost";
      const there = row ? `it holds ${row.action}` : "it is not there";
      violations.push({ rule, detail: `${describe(asked)} was answered with audit row ${answer.auditId}: ${there}` });
    }
    const other = claimed.get(answer.auditId);
    if (other) violations.push({ rule: "change_doubled", detail: `${other} and ${id} were answered with one row` });
    claimed.set(answer.auditId, id);
  }
  const refused = new Set(answers.filter(({ answer }) => answer.kind === "refused").map(({ id }) => id));
  const answered = new Set(answers.map(({ id }) => id));
  const isOpen = [...known.keys()].some((id) => !answered.has(id));
  for (const row of rows) {
    const request = requestIn(row.reason);
    if (!row.actor.startsWith("token") || claimed.has(row.id) || row.action === REPEATED) continue;
    // Whatever an operator did was answered at last; what nobody was answered with was done once more, or by nobody.
    if (request && refused.has(request)) {
      violations.push({
        rule: "half_transaction",
        detail: `${request} was refused, and row ${row.id} says that it was done`,
      });
    } else if (!isOpen)
      violations.push({ rule: "change_doubled", detail: `row ${row.id} (${row.action} ${row.target}) was no answer` });
  }
  return [...violations, ...checkOrder(known, answers)];
}

/** A change that was asked for after another was answered has a later revision. */
function checkOrder(known: ReadonlyMap<string, Asked>, answers: readonly Answered[]): Violation[] {
  const steps = answers
    .flatMap(({ id, atMs, answer }) => {
      const asked = known.get(id);
      return asked && answer.kind === "done" ? [{ id, askedMs: asked.atMs, atMs, revision: answer.revision }] : [];
    })
    .toSorted((a, b) => a.askedMs - b.askedMs);
  const byAnswer = steps.toSorted((a, b) => a.atMs - b.atMs);
  const violations: Violation[] = [];
  let next = 0;
  let highest = { id: "", revision: 0 };
  for (const step of steps) {
    for (; (byAnswer[next]?.atMs ?? Number.POSITIVE_INFINITY) < step.askedMs; next++) {
      const before = byAnswer[next];
      if (before && before.revision > highest.revision) highest = before;
    }
    if (step.revision < highest.revision) {
      const detail = `${step.id} was answered with revision ${step.revision}, and ${highest.id} before it with ${highest.revision}`;
      violations.push({ rule: "revision_went_back", detail });
    }
  }
  return violations;
}

/** Feedback that was answered is stored, once. */
export function checkFeedback(answers: readonly Answered[], facts: DatabaseFacts): Violation[] {
  const violations: Violation[] = [];
  for (const { id, answer } of answers) {
    const times = facts.feedback.filter((each) => each === id).length;
    if (answer.kind === "stored" && times === 0)
      violations.push({ rule: "change_lost", detail: `feedback ${id} is gone` });
    if (times > 1) violations.push({ rule: "change_doubled", detail: `feedback ${id} is stored ${times} times` });
  }
  return violations;
}

/** Every row of one transaction is there, and none without the others. */
export function checkTransactions(facts: DatabaseFacts): Violation[] {
  const half: string[] = [];
  const revisions = new Set(facts.revisions);
  const audited = facts.audit.flatMap(({ revision }) => revision ?? []);
  for (const revision of audited)
    if (!revisions.has(revision)) half.push(`revision ${revision} is audited and no history`);
  for (const revision of revisions) {
    const rows = audited.filter((each) => each === revision).length;
    if (rows !== 1) half.push(`revision ${revision} has ${rows} audit rows`);
  }
  const stops = facts.audit.filter(({ action }) => action === "rollback");
  for (const { id, decisionId, incident, revision } of stops) {
    const decisions = facts.decisions.filter((each) => each.id === decisionId && each.incident === incident).length;
    const incidents = facts.incidents.filter((each) => each.id === incident && each.revision === revision).length;
    const alerts = facts.alerts.filter((each) => each.alert === "rollback" && each.incident === incident).length;
    if (decisions !== 1 || incidents !== 1 || alerts !== 1) {
      half.push(`the rollback of row ${id} has ${decisions} decisions, ${incidents} incidents and ${alerts} alerts`);
    }
  }
  const incidentsOfRows = new Set(stops.map(({ incident }) => incident));
  for (const { id, incident } of facts.decisions) {
    if (!incidentsOfRows.has(incident)) half.push(`decision ${id} has no audit row`);
  }
  for (const { id } of facts.incidents) if (!incidentsOfRows.has(id)) half.push(`incident ${id} has no audit row`);
  const count = (action: string) => facts.audit.filter((row) => row.action === action).length;
  const alerts = (kind: string) => facts.alerts.filter((each) => each.alert === kind).length;
  for (const [action, kind] of [
    ["stop", "stop"],
    ["rollout.hold", "hold"],
    ["rollback", "rollback"],
    ["incident.recovered", "recovered"],
    ["incident.unverified", "unverified"],
    ["incident.not_recovered", "not_recovered"],
  ] as const) {
    if (count(action) !== alerts(kind)) half.push(`${count(action)} rows of ${action} and ${alerts(kind)} alerts`);
  }
  return half.map((detail) => ({ rule: "half_transaction", detail }));
}

/** The documents are what the audit log says. */
export function checkState(permissions: Permissions, facts: DatabaseFacts): Violation[] {
  const violations: Violation[] = [];
  const disagree = (detail: string) => violations.push({ rule: "audit_and_state_disagree", detail });
  for (const { agent, exposed, locked } of facts.aliases) {
    const said = permissions.exposed.get(agent);
    if (exposed.join() !== (said ?? "")) disagree(`${agent} exposes ${list(exposed)}, audited is ${said ?? "none"}`);
    const lockedBy = [...(permissions.locked.get(agent) ?? [])].sort();
    if (locked.toSorted().join() !== lockedBy.join())
      disagree(`${agent} locks ${list(locked)}, audited is ${list(lockedBy)}`);
  }
  // What the brain engages while it holds a rollout has no row of its own.
  const engaged = facts.engaged.filter(({ owner }) => !owner.startsWith("rollout:"));
  const held = new Set(engaged.map(({ owner, scope }) => holder(owner, scope)));
  for (const [name, scope] of permissions.engaged) {
    if (!held.has(name))
      violations.push({ rule: "kill_lost", detail: `${name} was engaged and never released; ${scope} is not` });
  }
  for (const name of held)
    if (!permissions.engaged.has(name)) disagree(`the switch is engaged by ${name}, which no row says`);
  if (held.size !== engaged.length) disagree(`${engaged.length} entries of the switch are of ${held.size} holders`);
  return violations;
}

function describe({ id, command }: Asked): string {
  return `${id} (${JSON.stringify(command)})`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "none" : items.join(" and ");
}
