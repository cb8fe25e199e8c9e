/**
 * What the embedded database costs on this machine's disk: a durable change and a group of counts against the bare append and
 * flush that none can do without, one checkpoint, the start of a large database, and how long dropping what is past its term
 * holds everybody else.
 */
import { closeSync, fdatasyncSync, openSync, statSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type LedgerWrites, NO_LEDGER_WRITES } from "../../server/src/store/ledger-writes.ts";
import { parseKeep, Retention } from "../../server/src/store/retention.ts";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import { openDatabase } from "../../server/src/store/sqlite-open.ts";
import type { Commit, Prunable, Store } from "../../server/src/store/store.ts";
import { type Spread, spreadOf } from "./load/statistics.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

const PAGE_BYTES = 4_096;
const OUTCOMES_PER_GROUP = 500;
const OLD = "2020-01-01T00:00:00.000Z";
const ALIASES = 200;
/** Of each alias; 50 of them are kept. */
const ROLLOUTS = 60;

export const store: Benchmark = {
  summary: "what the database costs: changes, counts, checkpoints, dropping old rows",
  run,
};

async function run({ quick }: Options): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "flagback-bench-store-"));
  try {
    const rounds = quick ? 1_000 : 5_000;
    const floor = appends(join(folder, "floor"), rounds);
    const file = join(folder, "flagback.db");
    openSqliteStore(file).close();
    const checkpointMs = checkpoint(file);
    const oldRows = quick ? 5_000 : 50_000;
    fill(file, oldRows);
    const bytes = statSync(file).size;
    const begunMs = performance.now();
    const opened = openSqliteStore(file);
    opened.load({ history: 1_000, runs: 100_000 });
    const startMs = performance.now() - begunMs;
    try {
      const changes = await timed(rounds, (n) => opened.commit(changeOf(n)));
      const groups = await timed(rounds, (n) => opened.writeLedger(countsOf(n)));
      const pruned = await prune(opened);
      return reportOf({ floor, changes, groups, checkpointMs, bytes, startMs, pruned, oldRows });
    } finally {
      opened.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** What a durable write takes at least: two pages at the end of a file, and their flush. */
function appends(file: string, rounds: number): Spread {
  const handle = openSync(file, "w");
  const pages = Buffer.alloc(2 * PAGE_BYTES, 1);
  const times: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const begunMs = performance.now();
      writeSync(handle, pages);
      fdatasyncSync(handle);
      times.push(performance.now() - begunMs);
    }
  } finally {
    closeSync(handle);
  }
  return spreadOf(times);
}

/** Milliseconds to fold a journal of the length at which it happens by itself into the file. */
function checkpoint(file: string): Spread {
  const database = openDatabase(file);
  try {
    const pages = database.pragma("wal_autocheckpoint", { simple: true }) as number;
    database.pragma("wal_autocheckpoint = 0");
    const put = database.prepare("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
    const times: number[] = [];
    for (let round = 0; round < 20; round++) {
      // One page and somewhat more for each row.
      for (let row = 0; row < pages / 4; row++) put.run(`bench-${row}`, String(round).padEnd(3 * PAGE_BYTES));
      const begunMs = performance.now();
      database.pragma("wal_checkpoint(PASSIVE)");
      times.push(performance.now() - begunMs);
    }
    database.exec("DELETE FROM meta WHERE key LIKE 'bench-%'");
    return spreadOf(times);
  } finally {
    database.close();
  }
}

async function timed(rounds: number, write: (round: number) => Promise<unknown>): Promise<Spread> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begunMs = performance.now();
    await write(round);
    times.push(performance.now() - begunMs);
  }
  return spreadOf(times);
}

/** An engaged kill switch: a document, a revision, an audit row. */
function changeOf(n: number): Commit {
  return {
    at: new Date(0).toISOString(),
    aliases: [],
    versions: [],
    killSwitches: [
      {
        key: "writes_disabled",
        engaged: [{ id: `e${n}`, owner: "token:bench", scope: "*", reason: "bench", at: OLD }],
        failSafe: { engage: true, afterMs: 0 },
        revision: n + 1,
        edit: n + 1,
      },
    ],
    flags: [],
    triggers: [],
    releases: [],
    deleted: [],
    incidents: [],
    asked: [],
    stops: [],
    history: { revision: n + 1, mark: "0".repeat(16), touched: [{ kind: "killSwitch", key: "writes_disabled" }] },
    audit: [
      {
        timestamp: new Date().toISOString(),
        actor: { kind: "system", name: "bench" },
        action: "kill_switch.engage",
        target: "kill_switch:writes_disabled",
        summary: "writes_disabled engaged everywhere",
        revision: n + 1,
      },
    ],
    alerts: [],
    ledger: NO_COUNTS,
  };
}

const NO_COUNTS: LedgerWrites = { ...NO_LEDGER_WRITES, tick: 1 };

/** Counts of one group: 50 runtimes, one version, and the ids of their runs. */
function countsOf(n: number): LedgerWrites {
  const key = { alias: "alias-1", rolloutNumber: ROLLOUTS };
  return {
    ...NO_COUNTS,
    instances: Array.from({ length: 50 }, (_, i) => ({
      instance: `i${i}`,
      tokenId: "t",
      through: n,
      lostSince: null,
    })),
    totals: [{ ...key, version: "v@1", totals: { assigned: n, settled: n, missing: 0, failures: 0 } }],
    runs: [
      {
        ...key,
        version: "v@1",
        runIds: Array.from({ length: OUTCOMES_PER_GROUP }, (_, i) => `run-${n}-${i}-0123456789`),
      },
    ],
    tick: n,
  };
}

/** A database of a server that was used for years and then upgraded to one that drops what is over. */
function fill(file: string, oldRows: number): void {
  const database = openDatabase(file);
  try {
    const put = (sql: string, rows: number, valuesOf: (n: number) => unknown[]) => {
      const statement = database.prepare(sql);
      database.transaction(() => {
        for (let n = 0; n < rows; n++) statement.run(...valuesOf(n));
      })();
    };
    const summary = "Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=error_spike, stage=canary";
    const evidence = JSON.stringify({ evidence: "x".repeat(1_000) });
    put(
      `INSERT INTO audit (timestamp, actor, action, target, summary, evidence, revision) VALUES (?, '{}', 'rollback', ?, ?, ?, ?)`,
      oldRows,
      (n) => [OLD, `alias:alias-${n % ALIASES}`, summary, evidence, 1_000_000 + n],
    );
    put("INSERT INTO propagation VALUES (?, 'applied 412/412')", oldRows, (n) => [1_000_000 + n]);
    put("INSERT INTO incidents (id, opened_at, document) VALUES (?, ?, ?)", oldRows / 10, (n) => [
      `inc_${n}`,
      OLD,
      evidence,
    ]);
    put("INSERT INTO decisions VALUES (?, ?, ?)", oldRows / 10, (n) => [`d${n}`, `inc_${n}`, evidence]);
    put("INSERT INTO outbox (webhook_id, body, created_at, delivered_at) VALUES ('w', ?, ?, ?)", oldRows / 10, () => [
      summary,
      OLD,
      OLD,
    ]);
    put(
      "INSERT INTO feedback (alias, id, version, run_id, quality, received_at, document) VALUES (?, ?, 'v@1', ?, 1, ?, ?)",
      oldRows,
      (n) => [`alias-${n % ALIASES}`, `f${n}`, `r${n}`, OLD, summary],
    );
    put("INSERT INTO idempotency VALUES ('t', ?, 'hash', ?, NULL, ?)", oldRows, (n) => [`key-${n}`, summary, OLD]);
    const ledger = JSON.stringify({ ledger: "x".repeat(2_000) });
    const rolloutOf = (n: number) => [`alias-${n % ALIASES}`, 1 + Math.floor(n / ALIASES)];
    put("INSERT INTO ledgers VALUES (?, ?, ?)", ALIASES * ROLLOUTS, (n) => [...rolloutOf(n), ledger]);
    put("INSERT INTO totals VALUES (?, 'v@1', ?, 1, 1, 0, 0)", ALIASES * ROLLOUTS, rolloutOf);
    put("INSERT INTO assignments VALUES (?, 1, 'alias-1', 'v@1', ?, 1, 1, 0, '{}')", 4 * oldRows, (n) => [
      `i${n}`,
      ROLLOUTS,
    ]);
  } finally {
    database.close();
  }
}

interface Pruned {
  /** Milliseconds of each step that dropped something. */
  readonly steps: Spread;
  readonly rows: Readonly<Partial<Record<Prunable, number>>>;
  readonly slowest: Prunable;
  readonly totalMs: number;
}

async function prune(opened: Store): Promise<Pruned> {
  const times: number[] = [];
  const rows: Partial<Record<Prunable, number>> = {};
  let slowest: Prunable = "audit";
  const retention = new Retention({
    prune: async (step) => {
      const begunMs = performance.now();
      const { rows: went } = await opened.prune(step);
      const tookMs = performance.now() - begunMs;
      if (times.every((each) => each < tookMs)) slowest = step.what;
      if (went > 0) times.push(tookMs);
      return went;
    },
    inUse: () => ({
      incidents: Array.from({ length: ALIASES }, (_, n) => `inc_${n}`),
      aliases: Array.from({ length: ALIASES }, (_, n) => ({ name: `alias-${n}`, rolloutNumber: ROLLOUTS, open: [] })),
    }),
    terms: parseKeep([]),
    now: Date.now,
    monotonicMs: () => performance.now(),
    onPruned: (what, went) => {
      rows[what] = (rows[what] ?? 0) + went;
    },
    log: { info: () => undefined },
    // Nobody else is there to be let by.
    pause: () => nextTurn(),
  });
  const begunMs = performance.now();
  await retention.run();
  return { steps: spreadOf(times), rows, slowest, totalMs: performance.now() - begunMs };
}

function reportOf(measured: {
  readonly floor: Spread;
  readonly changes: Spread;
  readonly groups: Spread;
  readonly checkpointMs: Spread;
  readonly bytes: number;
  readonly startMs: number;
  readonly pruned: Pruned;
  readonly oldRows: number;
}): Report {
  const { floor, changes, groups, checkpointMs, bytes, startMs, pruned, oldRows } = measured;
  const spread = (what: string, { p50, p99, max }: Spread): Row[] => [
    { what: `${what}, p50`, value: p50, unit: "ms", ratioToFloor: p50 / floor.p50 },
    { what: `${what}, p99`, value: p99, unit: "ms", ratioToFloor: p99 / floor.p99 },
    { what: `${what}, longest`, value: max, unit: "ms" },
  ];
  const rows: Row[] = [
    ...spread("append and flush of two pages", floor),
    ...spread("a change", changes),
    ...spread(`a group of ${OUTCOMES_PER_GROUP} outcomes`, groups),
    { what: "a checkpoint, p50", value: checkpointMs.p50, unit: "ms" },
    { what: "a checkpoint, longest", value: checkpointMs.max, unit: "ms" },
    { what: "size of the database with old rows", value: bytes / 2 ** 20, unit: "MiB" },
    { what: "its start: every page looked at, and loaded", value: startMs, unit: "ms" },
    ...spread(`a step that drops old rows (longest: ${pruned.slowest})`, pruned.steps),
    {
      what: "rows dropped in a second, without pauses",
      value: (sum(pruned.rows) * 1_000) / pruned.totalMs,
      unit: "/s",
    },
  ];
  // Of everything that is past its term all but the incidents in use; of rollouts 10 of each alias in two tables.
  const expected: Record<Prunable, number> = {
    audit: oldRows,
    incidents: oldRows / 10 - ALIASES,
    alerts: oldRows / 10,
    feedback: oldRows,
    requests: oldRows,
    rollouts: 2 * ALIASES * (ROLLOUTS - 50),
  };
  const failures = Object.entries(expected)
    .filter(([what, count]) => pruned.rows[what as Prunable] !== count)
    .map(([what, count]) => `${pruned.rows[what as Prunable] ?? 0} rows of ${what} were dropped, and not ${count}`);
  return { rows, failures };
}

function sum(rows: Pruned["rows"]): number {
  return Object.values(rows).reduce((total, each) => total + each, 0);
}
