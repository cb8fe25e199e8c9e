/**
 * The chaos run's checker is tested by planted defects: an honest history, recorded from a real server and real runtimes, must
 * pass, and each defect that is planted into it must be reported, by its name and no other.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { SeededRandom, seedOf } from "../support/seeded-random.ts";
import { audienceOf, badOf, isCandidate, LEASE_MS, stableOf } from "./chaos/cast.ts";
import { chaos } from "./chaos/chaos.ts";
import { checkReads } from "./chaos/check-reads.ts";
import { judge, type Standing } from "./chaos/checker.ts";
import type { AuditRow, ChaosEvent, DatabaseFacts, Rule } from "./chaos/history.ts";
import { Sightings } from "./chaos/timeline.ts";

const RUNTIMES = 24;
const SECONDS = 15;

type EventOf<Kind extends ChaosEvent["kind"]> = Extract<ChaosEvent, { kind: Kind }>;

let before: Standing;
let honest: readonly ChaosEvent[];
let facts: DatabaseFacts;
let random: SeededRandom;

beforeAll(async () => {
  const seed = seedOf(process.env);
  console.log(`chaos: seed ${seed} (FLAGBACK_SEED repeats it)`);
  random = new SeededRandom(seed);
  const rounds: { before: Standing; events: readonly ChaosEvent[] }[] = [];
  const report = await chaos({
    seed,
    seconds: SECONDS,
    runtimes: RUNTIMES,
    say: console.log,
    seen: (from, events) => void rounds.push({ before: from, events }),
  });
  expect(report.violations).toEqual([]);
  ({ before, events: honest } = rounds.at(-1) as (typeof rounds)[number]);
  facts = (honest.at(-1) as EventOf<"database">).facts;
}, 240_000);

test("an honest history passes, and there was much that could have gone wrong", () => {
  expect(rulesIn(honest)).toEqual([]);
  expect(all("serverEnded").length).toBeGreaterThan(2);
  expect(all("fault").length).toBeGreaterThan(10);
  expect(all("answered").length).toBeGreaterThan(10);
  expect(all("acknowledged").length).toBeGreaterThan(10);
  expect(facts.runs.length).toBeGreaterThan(50);
  expect(facts.audit.some(({ action }) => action === "rollback")).toBe(true);
  expect(all("read").some(({ runtime, version }) => isCandidate(runtime, version))).toBe(true);
});

describe("a planted defect is reported:", () => {
  test("an outcome that was acknowledged is lost", () => {
    const lost = random.pick(facts.runs);
    const runs = facts.runs.filter((run) => run !== lost);
    expect(rulesIn(withFacts({ runs }))).toEqual(["outcome_lost"]);
  });

  test("a batch that was sent twice is counted twice", () => {
    const batch = random.pick(all("reported").filter(({ runs }) => runs.some(({ runId }) => isCounted(runId))));
    const runs = [...facts.runs, ...batch.runs];
    const totals = facts.totals.map((sums) => {
      const again = batch.runs.filter(({ agent, version }) => agent === sums.agent && version === sums.version).length;
      return { ...sums, settled: sums.settled + again };
    });
    expect(rulesIn(withFacts({ runs, totals }))).toEqual(["outcome_doubled"]);
  });

  test("counts are doubled, although each run is known once", () => {
    const totals = facts.totals.map((sums, i) => (i === 0 ? { ...sums, settled: sums.settled + 1 } : sums));
    expect(rulesIn(withFacts({ totals }))).toEqual(["outcome_doubled"]);
  });

  test("a runtime's revision goes back", () => {
    const last = all("applied").at(-1) as EventOf<"applied">;
    const back = { ...last, revision: before.revision };
    expect(last.revision).toBeGreaterThan(before.revision);
    expect(rulesIn(withEvents(back))).toEqual(["revision_went_back"]);
  });

  test("the server's revision goes back: what was acknowledged is no longer in its history", () => {
    const revisions = facts.revisions.slice(0, -1);
    const audit = facts.audit.filter(({ revision }) => revision !== facts.revisions.at(-1));
    expect(rulesIn(withFacts({ revisions, audit }))).toContain("revision_went_back");
  });

  test("a runtime serves a version that it has acknowledged as withdrawn", () => {
    const { row, agent, toMs } = random.pick(withdrawals().filter(({ fromMs, toMs }) => toMs > fromMs));
    const old = readOf(agent, { acknowledged: row.revision ?? 0, version: row.fromVersion, atMs: toMs - 0.1 });
    expect(rulesIn(withEvents(old))).toEqual(["withdrawn_version_served"]);
    // The same read is none while the version is not withdrawn.
    const earlier = readOf(agent, { acknowledged: (row.revision ?? 0) - 1, version: row.fromVersion, atMs: row.atMs });
    expect(rulesIn(withEvents(earlier))).toEqual([]);
  });

  test.each(["incidents", "decisions", "alerts", "revisions"] as const)(
    "half of a rollback's transaction: its %s are missing",
    (what) => {
      const row = random.pick(withdrawals()).row;
      const half: Partial<DatabaseFacts> = {
        incidents: facts.incidents.filter(({ id }) => id !== row.incident),
        decisions: facts.decisions.filter(({ incident }) => incident !== row.incident),
        alerts: facts.alerts.filter(({ incident }) => incident !== row.incident),
        revisions: facts.revisions.filter((revision) => revision !== row.revision),
      };
      expect(rulesIn(withFacts({ [what]: half[what] }))).toContain("half_transaction");
    },
  );

  test("half of a rollback is seen: a runtime serves the candidate of one revision and writes as in the next", () => {
    const agent = audienceOf(0).agent;
    const candidate = badOf(agent);
    const nobody = { exposed: new Map(), locked: new Map(), engaged: new Map() };
    const exposed = { ...nobody, exposed: new Map([[agent, candidate]]), engaged: new Map([["a", `agent=${agent}`]]) };
    const moments = [exposed, nobody].map((permissions, i) => ({ revision: i + 1, permissions, notBeforeMs: i * 100 }));
    const read = readOf(agent, { acknowledged: 1, version: candidate, atMs: 150 });
    const rules = (seen: typeof read) => checkReads([seen], moments, new Sightings([])).map(({ rule }) => rule);
    expect(rules({ ...read, mayWrite: true })).toEqual(["half_transaction"]);
    expect(rules(read)).toEqual([]);
    expect(rules({ ...read, version: stableOf(agent), mayWrite: true })).toEqual([]);
  });

  test("audit and state disagree: a rollback is audited, and its candidate has weight", () => {
    const { row, agent } = random.pick(withdrawals());
    const exposed = [row.fromVersion ?? ""];
    const aliases = facts.aliases.map((alias) => (alias.agent === agent ? { ...alias, exposed } : alias));
    expect(rulesIn(withFacts({ aliases }))).toEqual(["audit_and_state_disagree"]);
  });

  test("a kill is lost: it was answered, and neither audit nor state know of it", () => {
    const kills = all("asked").filter(({ command }) => command.kind === "engage" || command.kind === "rollback");
    const answers = all("answered").filter(({ id, answer }) => {
      return answer.kind === "done" && kills.some((kill) => kill.id === id);
    });
    const { answer } = random.pick(answers);
    const auditId = answer.kind === "done" ? answer.auditId : 0;
    const audit = facts.audit.filter(({ id }) => id !== auditId);
    expect(rulesIn(withFacts({ audit }))).toContain("kill_lost");
  });

  test("a kill is lost: it is audited and never released, and the switch is not engaged", () => {
    const row: AuditRow = {
      id: (facts.audit.at(-1)?.id ?? 0) + 1,
      revision: (facts.revisions.at(-1) ?? 0) + 1,
      action: "kill_switch.engage",
      target: "kill_switch:writes_disabled",
      actor: "system",
      reason: "c0 tenant=t0",
      fromVersion: null,
      toVersion: null,
      incident: null,
      decisionId: null,
    };
    const revisions = [...facts.revisions, row.revision ?? 0];
    expect(rulesIn(withFacts({ audit: [...facts.audit, row], revisions }))).toEqual(["kill_lost"]);
  });

  test("a kill is lost: a runtime that has acknowledged it goes on writing", () => {
    const { row, agent } = random.pick(withdrawals());
    const writes = readOf(agent, { acknowledged: row.revision ?? 0, version: stableOf(agent), atMs: row.atMs });
    expect(rulesIn(withEvents({ ...writes, mayWrite: true }))).toEqual(["kill_lost"]);
  });

  test("a lease is kept for too long: a runtime that knows of no withdrawal goes on past the bound", () => {
    const late = withdrawals().filter(({ fromMs, toMs }) => toMs > fromMs + LEASE_MS);
    const { row, agent, fromMs, toMs } = random.pick(late);
    const acknowledged = (row.revision ?? 0) - 1;
    const read = readOf(agent, { acknowledged, version: row.fromVersion, atMs: fromMs });
    const boundMs = fromMs + LEASE_MS;
    expect(rulesIn(withEvents({ ...read, lastMs: boundMs }))).toEqual([]);
    expect(rulesIn(withEvents({ ...read, lastMs: Math.min(boundMs + 1, toMs) }))).toEqual(["lease_bound_broken"]);
  });

  test("a second alert tells of one rollback", () => {
    const alert = random.pick(all("alerted").filter((each) => each.alert === "rollback"));
    const second = { ...alert, id: `flagback-${Number.MAX_SAFE_INTEGER}` };
    expect(rulesIn(withEvents(second))).toEqual(["second_alert"]);
    // A delivery that is repeated bears the same id.
    expect(rulesIn(withEvents(alert))).toEqual([]);
  });

  test("a second alert tells of one roll-forward, and not one of another by the same incident", () => {
    const { incident } = random.pick(all("alerted").filter((each) => each.alert === "rollback"));
    const forward = (id: number, text: string): ChaosEvent => ({
      ...random.pick(all("alerted")),
      alert: "bypass",
      incident,
      text,
      id: `flagback-${Number.MAX_SAFE_INTEGER - 2 + id}`,
    });
    expect(rulesIn(withEvents(forward(0, "one"), forward(1, "another")))).toEqual([]);
    expect(rulesIn(withEvents(forward(0, "one"), forward(1, "one")))).toEqual(["second_alert"]);
  });

  test("an alert of an incident comes before an earlier one", () => {
    const alert = random.pick(all("alerted").filter((each) => each.alert === "rollback"));
    // A fact of its own, so that nothing else is wrong with it: the incident may have told of its recovery already.
    const earlier = { ...alert, alert: "stop", text: "planted", id: "flagback-0" };
    expect(rulesIn(withEvents(earlier))).toEqual(["alert_out_of_order"]);
  });

  test("an alert does not come", () => {
    const { id } = random.pick(facts.alerts);
    expect(rulesIn(honest.filter((event) => event.kind !== "alerted" || event.id !== id))).toEqual(["alert_missing"]);
  });

  test("a change is made twice, or by nobody", () => {
    const done = random.pick(facts.audit.filter(({ action }) => action === "token.create"));
    const again = { ...done, id: (facts.audit.at(-1)?.id ?? 0) + 1, target: "token:another" };
    expect(rulesIn(withFacts({ audit: [...facts.audit, again] }))).toEqual(["change_doubled"]);
  });
});

/** What the checker says of a history, by name. */
function rulesIn(events: readonly ChaosEvent[]): Rule[] {
  return [...new Set(judge(before, events).violations.map(({ rule }) => rule))];
}

function all<Kind extends ChaosEvent["kind"]>(kind: Kind): EventOf<Kind>[] {
  return honest.filter((event): event is EventOf<Kind> => event.kind === kind);
}

function withFacts(changed: Partial<DatabaseFacts>): ChaosEvent[] {
  return honest.map((event) => (event.kind === "database" ? { ...event, facts: { ...facts, ...changed } } : event));
}

/** Before the database's facts, which end a history. */
function withEvents(...planted: readonly ChaosEvent[]): ChaosEvent[] {
  return [...honest.slice(0, -1), ...planted, ...honest.slice(-1)];
}

function isCounted(runId: string): boolean {
  return facts.runs.some((run) => run.runId === runId);
}

function readOf(
  agent: string,
  { acknowledged, version, atMs }: { acknowledged: number; version: string | null; atMs: number },
): EventOf<"read"> {
  const runtime = Array.from({ length: RUNTIMES }, (_, i) => i).find((i) => audienceOf(i).agent === agent) ?? 0;
  return { kind: "read", runtime, acknowledged, version, mayWrite: false, firstMs: atMs, lastMs: atMs };
}

/** Every rollback: from when somebody was seen to have it, to when the version was asked for again. */
function withdrawals() {
  const sightings = new Sightings([
    ...all("applied"),
    ...all("greeted"),
    ...all("answered").flatMap(({ atMs, answer }) =>
      "revision" in answer ? [{ atMs, revision: answer.revision }] : [],
    ),
  ]);
  const asked = new Map(all("asked").map((event) => [event.id, event]));
  return facts.audit.flatMap((row) => {
    if (row.action !== "rollback") return [];
    const agent = row.target.slice("alias:".length);
    const fromMs = sightings.firstMs(row.revision ?? 0);
    const again = facts.audit.find(
      ({ id, action, toVersion }) =>
        id > row.id && ["rollout.start", "rollout.forward"].includes(action) && toVersion === row.fromVersion,
    );
    const toMs = again ? (asked.get(again.reason ?? "")?.atMs ?? fromMs) : Number.MAX_SAFE_INTEGER;
    return [{ row: { ...row, atMs: fromMs }, agent, fromMs, toMs }];
  });
}
