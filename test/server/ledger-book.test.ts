import { judge, type World } from "@flagback/core";
import { type Alias, Policy, type StreamOutcome, type Version } from "@flagback/schemas";
import { expect, test } from "vitest";
import { LedgerBook } from "../../server/src/ledger/ledger-book.ts";
import { TickClock } from "../../server/src/ledger/tick-clock.ts";
import type { LedgerWrites } from "../../server/src/store/ledger-writes.ts";
import type { Loaded } from "../../server/src/store/store.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

const ROLLOUT = { alias: "agent", rolloutNumber: 1 };
const KEY = { ...ROLLOUT, version: "agent@2" };
const ALL = () => true;

test("a run without a report is pending, and pending counts as good", () => {
  const { book } = opened();
  book.countBatch("i", batch(1, 10, ["failure"]), ALL);
  const verdict = judge(ledgerOf(book));
  expect(verdict.guardrails[0]).toMatchObject({ n: 10, k: 1 });
});

test("a run without a report by the timeout is missing, and missing is bad", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 10, []), ALL);
  clock.advance(5_000);
  expect(book.advance().size).toBe(0);
  clock.advance(2_000);
  expect([...book.advance()]).toEqual(["agent"]);
  expect(book.totalsOf(KEY)).toMatchObject({ assigned: 10, missing: 10 });
  expect(judge(ledgerOf(book))).toMatchObject({ kind: "stop", guardrails: [{ n: 10, k: 10 }] });
});

test("a report after the timeout is refused as unassigned, not counted twice", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 1, []), ALL);
  clock.advance(7_000);
  book.advance();
  const late = book.countBatch("i", { ...batch(2, 1, []), items: [item(1, "success", "late")] }, ALL);
  expect(late).toMatchObject({ kind: "counted", rejected: [{ index: 0, code: "no_assignment" }] });
});

test("runs of a host that vanished in silence wait for it, and then are lost and not bad", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 5, []), ALL);
  book.died("i");
  clock.advance(60_000);
  book.advance();
  expect(judge(ledgerOf(book)).guardrails[0]).toMatchObject({ n: 5, k: 0 });
  clock.advance(600_000);
  book.advance();
  expect(book.totalsOf(KEY).missing).toBe(0);
  expect(judge(ledgerOf(book))).toMatchObject({ kind: "allow", guardrails: [{ n: 0, k: 0 }] });
});

test("runs of a host that comes back are counted as if it had never been away", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 1, []), ALL);
  book.died("i");
  clock.advance(60_000);
  book.advance();
  book.connected("i", "t");
  const back = book.countBatch("i", { ...batch(2, 1, []), items: [item(1, "failure", "r")] }, ALL);
  expect(back).toMatchObject({ rejected: [] });
  expect(judge(ledgerOf(book)).guardrails[0]).toMatchObject({ k: 1 });
});

test("after a restart nothing from before it goes missing within the first minute", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 3, []), ALL);
  const again = opened(loadedFrom(book.collect(), clock.tick()));
  again.clock.advance(59_000);
  again.book.advance();
  expect(again.book.totalsOf(KEY)).toMatchObject({ assigned: 3, missing: 0 });
  again.clock.advance(3_000);
  again.book.advance();
  expect(again.book.totalsOf(KEY)).toMatchObject({ missing: 3 });
});

test("a restart keeps every count, every open assignment and the verdict", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 4, ["failure", "success"]), ALL);
  clock.advance(1_000);
  book.countBatch("i", batch(2, 2, ["failure"]), ALL);
  const verdict = judge(ledgerOf(book));
  const again = opened(loadedFrom(book.collect(), clock.tick()));
  expect(judge(ledgerOf(again.book))).toEqual(verdict);
  expect(again.book.connected("i", "t")).toBe(2);
  const rest = {
    ...batch(3, 1, []),
    items: [item(1, "success", "x"), item(2, "success", "y"), item(1, "failure", "run-1-0")],
  };
  expect(again.book.countBatch("i", rest, ALL)).toMatchObject({ rejected: [{ index: 2, code: "duplicate" }] });
});

test("counts that could not be written are handed out again", () => {
  const { book } = opened();
  book.countBatch("i", batch(1, 2, ["failure"]), ALL);
  book.collect();
  expect(book.hasUnwritten()).toBe(false);
  book.restore();
  book.countBatch("i", batch(2, 1, ["success"]), ALL);
  const again = book.collect();
  expect(again.instances).toMatchObject([{ through: 2 }]);
  expect(again.runs.flatMap((row) => row.runIds)).toEqual(["run-1-0", "run-2-0"]);
  expect(again.counts).toMatchObject([{ row: { arm: "candidate", runtime: "i", assigned: 3, settled: 2 } }]);
  expect(book.durableThrough("i")).toBe(0);
  book.confirm(again);
  expect(book.durableThrough("i")).toBe(2);
});

test("a run that hangs is judged at its latency limit, once, and not when it times out", () => {
  const { book, clock } = opened({}, WITH_LATENCY);
  const overdue = [{ assignedSeq: 1, alias: "agent", version: "agent@2", limitMs: 1_800, n: 3 }];
  book.countBatch("i", { ...batch(1, 4, []), overdue }, ALL);
  const latency = () => judge(ledgerOf(book)).guardrails[1];
  expect(latency()).toMatchObject({ guardrail: "latency_p95_ms", n: 4, k: 3 });
  // One of them ends after all, and says that it was reported; another claims so and was not.
  const ended = { ...item(1, "success", "a"), durationMs: 5_000, overdueLimitsMs: [1_800] };
  book.countBatch("i", { ...batch(2, 1, []), assigned: [], items: [ended] }, ALL);
  expect(latency()).toMatchObject({ n: 4, k: 3 });
  clock.advance(7_000);
  book.advance();
  expect(book.totalsOf(KEY)).toMatchObject({ settled: 1, missing: 3 });
  expect(latency()).toMatchObject({ n: 3, k: 3 });
});

test("a run that was never reported overdue is judged by its duration, whatever it claims", () => {
  const { book } = opened({}, WITH_LATENCY);
  const claims = { ...item(1, "success", "a"), durationMs: 5_000, overdueLimitsMs: [1_800] };
  book.countBatch("i", { ...batch(1, 1, []), items: [claims] }, ALL);
  expect(judge(ledgerOf(book)).guardrails[1]).toMatchObject({ n: 1, k: 1 });
});

test("outcomes without an assignment are judged once their tick has had its timeout, also after a restart", () => {
  const { book, clock } = opened();
  const outcomes = ["a", "b", "c"].map((runId) => ({ runId, alias: "agent", version: "agent@2", status: "failure" }));
  expect(book.countReports(outcomes, "http", ALL, 0)).toMatchObject({ accepted: 3, duplicates: 0 });
  expect(judge(ledgerOf(book)).guardrails[0]).toMatchObject({ n: 0 });
  const again = opened(loadedFrom(book.collect(), clock.tick()));
  again.clock.advance(62_000);
  expect([...again.book.advance()]).toEqual(["agent"]);
  expect(judge(ledgerOf(again.book))).toMatchObject({ kind: "stop", guardrails: [{ n: 3, k: 3 }] });
});

test("fast failures with slow successes don't roll a healthy version back", () => {
  // 20 runs a second fail with 4 %; failures are reported at once, successes four seconds later. Judged in the order of
  // arrival, as a naive rate would, the first reports are failures only.
  const { book, clock } = opened();
  let seq = 0;
  const waiting: { readonly at: number; readonly items: unknown[] }[] = [];
  for (let second = 0; second < 60; second++) {
    const failures = second % 5 === 4 ? 4 : 0;
    const assignedSeq = ++seq;
    book.countBatch("i", batch(assignedSeq, 20, Array<string>(failures).fill("failure")), ALL);
    const slow = Array.from({ length: 20 - failures }, (_, index) =>
      item(assignedSeq, "success", `slow-${assignedSeq}-${index}`),
    );
    waiting.push({ at: second + 4, items: slow });
    for (const due of waiting.filter((each) => each.at === second)) {
      book.countBatch("i", { type: "outcomes", seq: ++seq, assigned: [], items: due.items }, ALL);
    }
    expect(judge(ledgerOf(book)).kind).toBe("allow");
    clock.advance(1_000);
    book.advance();
  }
  expect(book.totalsOf(KEY)).toMatchObject({ missing: 0, failures: 48 });
});

test.each([
  ["first", [5, 1_000]],
  ["last", [1_000, 5]],
])(
  "runs of a version from before and after the rollout's start in one batch, the earlier %s, are no evidence and end",
  (_, revisions) => {
    const started: Alias = { ...ALIAS, rollout: ALIAS.rollout && { ...ALIAS.rollout, startRevision: 10 } };
    const { book, clock } = opened({}, { ...WORLD, aliases: new Map([["agent", started]]) });
    const one = batch(1, 1, ["failure", "failure"]);
    const assigned = revisions.map((revision) => ({ ...one.assigned[0]!, revision }));
    // Which of the two runs an outcome is of can't be told: both name the batch and the version.
    expect(book.countBatch("i", { ...one, assigned }, ALL)).toMatchObject({ kind: "counted", rejected: [] });
    expect(book.totalsOf({ ...KEY, rolloutNumber: 0 })).toMatchObject({ assigned: 2, settled: 2 });
    clock.advance(7_000);
    expect([...book.advance()]).toEqual([]);
    expect(book.ledgerOf(ROLLOUT)).toBeUndefined();
  },
);

test("runs that are open when the next rollout starts and the server restarts go missing in peace", () => {
  const { book, clock } = opened();
  book.countBatch("i", batch(1, 2, ["success"]), ALL);
  const next: Alias = { ...ALIAS, rolloutNumber: 2, rollout: ALIAS.rollout && { ...ALIAS.rollout, rolloutNumber: 2 } };
  const again = opened(loadedFrom(book.collect(), clock.tick()), { ...WORLD, aliases: new Map([["agent", next]]) });
  again.clock.advance(62_000);
  expect([...again.book.advance()]).toEqual(["agent"]);
  expect(again.book.totalsOf(KEY)).toMatchObject({ assigned: 2, settled: 1, missing: 1 });
});

test("a rollout that is over is forgotten also while another's counts wait to be written, and not before its own are", () => {
  const aliases = new Map([["agent", ALIAS]]);
  const { book, clock } = opened({}, { ...WORLD, aliases });
  book.countBatch("i", batch(1, 1, ["success"]), ALL);
  aliases.set("agent", {
    ...ALIAS,
    rolloutNumber: 2,
    rollout: ALIAS.rollout && { ...ALIAS.rollout, rolloutNumber: 2 },
  });
  clock.advance(7_000);
  book.advance();
  expect(book.openRollouts("agent")).toEqual([1]);
  book.confirm(book.collect());
  book.countBatch("i", batch(2, 1, ["success"]), ALL);
  expect(book.hasUnwritten()).toBe(true);
  book.advance();
  expect(book.openRollouts("agent")).toEqual([2]);
});

test("a runtime that was cut off adds to what was counted in a rollout that is over, also where its ledger is gone", () => {
  const before: Alias = { ...ALIAS, rolloutNumber: 0, rollout: null };
  const aliases = new Map([["agent", before]]);
  const world = { ...WORLD, aliases };
  const { book } = opened({}, world);
  // From before the first rollout, so that nothing of it is judged.
  const early = (seq: number) => ({
    ...batch(seq, 2, ["success", "failure"]),
    assigned: [{ alias: "agent", version: "agent@2", revision: 5, n: 2 }],
  });
  book.countBatch("i", early(1), ALL);
  book.confirm(book.collect());
  aliases.set("agent", { ...ALIAS, rollout: ALIAS.rollout && { ...ALIAS.rollout, startRevision: 10 } });
  book.advance();
  book.countBatch("i", early(2), ALL);
  expect(book.collect().totals).toEqual([
    {
      alias: "agent",
      version: "agent@2",
      rolloutNumber: 0,
      totals: { assigned: 4, settled: 4, missing: 0, failures: 2 },
    },
  ]);
});

test.each([
  ["run", "hold"],
  ["conversation", "allow"],
] as const)(
  "a candidate with a twentieth of the runs at half of the weight, and stickiness %s: %s",
  (stickiness, kind) => {
    const policy = Policy.parse({ ...POLICY, stickiness });
    const allocation = [
      { version: "agent@2", weight: 50_000 },
      { version: "agent@1", weight: 50_000 },
    ];
    const alias: Alias = { ...ALIAS, allocation, policy, rollout: ALIAS.rollout && { ...ALIAS.rollout, policy } };
    const versions = new Map(["agent@1", "agent@2"].map((id) => [id, { id, alias: "agent" } as Version]));
    const { book, clock } = opened({}, { ...WORLD, aliases: new Map([["agent", alias]]), versions });
    book.weightsChanged(alias, 1);
    // Half a minute of settling is left out; half a minute more is far more than the test of the ratio needs.
    for (let seq = 1; seq <= 60; seq++) {
      const stable = { alias: "agent", version: "agent@1", revision: 1_000, n: 19 };
      const one = batch(seq, 1, []);
      book.countBatch("i", { ...one, assigned: [...one.assigned, stable] }, ALL);
      clock.advance(1_000);
    }
    expect(judge(ledgerOf(book))).toMatchObject({ kind, ...(kind === "hold" && { reason: "sample_ratio" }) });
  },
);

function opened(loaded: Partial<Loaded> = {}, world = WORLD) {
  let nowMs = 0;
  const tickClock = new TickClock((loaded.tick ?? 0) + 1, () => nowMs);
  const book = new LedgerBook({ world: () => world, clock: tickClock, loaded: { ...NOTHING, ...loaded } });
  book.connected("i", "t");
  const clock = {
    advance: (ms: number) => {
      nowMs += ms;
    },
    tick: () => tickClock.now(),
  };
  return { book, clock };
}

function ledgerOf(book: LedgerBook) {
  const ledger = book.ledgerOf(ROLLOUT);
  if (!ledger) throw new Error("nothing was assigned");
  return ledger;
}

function batch(seq: number, n: number, statuses: readonly string[]) {
  return {
    type: "outcomes" as const,
    seq,
    overdue: [],
    assigned: [{ alias: "agent", version: "agent@2", revision: 1_000, n }],
    items: statuses.map((status, index) => item(seq, status, `run-${seq}-${index}`)),
  };
}

function item(assignedSeq: number, status: string, runId: string): StreamOutcome {
  return { assignedSeq, runId, alias: "agent", version: "agent@2", status: status as StreamOutcome["status"] };
}

/** What a store would answer after these writes. */
function loadedFrom(writes: LedgerWrites, tick: number): Partial<Loaded> {
  const copy = structuredClone(writes);
  return {
    tick,
    instances: copy.instances,
    assignments: copy.assignments,
    ledgers: copy.ledgers.map((row) => ({ ...row, ledger: { ...row.ledger, ticks: [] } })),
    totals: copy.totals,
    counts: copy.counts,
    runs: copy.runs,
  };
}

const POLICY = Policy.parse({
  guardrails: [{ metric: "error_rate", max: 0.05 }],
  stages: [{ name: "canary", percent: 50 }],
  outcomeTimeout: "5s",
});

const ALIAS: Alias = {
  name: "agent",
  salt: "agent",
  allocation: [],
  stable: "agent@1",
  candidates: ["agent@2"],
  policy: POLICY,
  locks: [],
  rollout: {
    rolloutNumber: 1,
    candidate: "agent@2",
    candidateDigest: "0".repeat(64),
    target: "agent@1",
    state: "exposing",
    stage: "canary",
    startedAt: "2026-01-01T00:00:00.000Z",
    stageStartedAt: "2026-01-01T00:00:00.000Z",
    policy: POLICY,
    policyHash: "0".repeat(64),
  },
  rolloutNumber: 1,
  revision: 1,
  edit: 1,
};

const WORLD: World = {
  ...EMPTY_WORLD,
  aliases: new Map([["agent", ALIAS]]),
  versions: new Map([["agent@2", { id: "agent@2", alias: "agent" } as Version]]),
};

const LATENCY = Policy.parse({
  ...POLICY,
  guardrails: [
    { metric: "error_rate", max: 0.05 },
    { metric: "latency_p95_ms", max: 1_800 },
  ],
});

const WITH_LATENCY: World = {
  ...WORLD,
  aliases: new Map([
    ["agent", { ...ALIAS, policy: LATENCY, rollout: ALIAS.rollout && { ...ALIAS.rollout, policy: LATENCY } }],
  ]),
};

const NOTHING: Loaded = {
  epoch: "0".repeat(32),
  aliases: [],
  versions: [],
  killSwitches: [],
  flags: [],
  decisions: [],
  incidents: [],
  asked: [],
  releases: [],
  lastRolloutNumbers: [],
  history: [],
  tokens: [],
  webhooks: [],
  triggers: [],
  checks: [],
  drills: [],
  tick: 0,
  instances: [],
  assignments: [],
  ledgers: [],
  totals: [],
  counts: [],
  runs: [],
};
