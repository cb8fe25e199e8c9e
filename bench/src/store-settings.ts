/**
 * What each setting of the embedded database gives and costs: the same changes and reads as it runs, and with one setting
 * otherwise. Rounds of all of them take turns, so that a busy machine is busy for each.
 */
import { statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Database from "better-sqlite3";
import { openDatabase } from "../../server/src/store/sqlite-open.ts";
import { quantile, spreadOf } from "./load/statistics.ts";
import type { Benchmark, Options, Report } from "./report.ts";
import { type Rng, xoshiro128 } from "./rng.ts";

const VARIANTS: readonly (readonly [what: string, pragmas: readonly string[]])[] = [
  ["as it runs", []],
  ["journal_mode = DELETE", ["journal_mode = DELETE"]],
  ["synchronous = NORMAL", ["synchronous = NORMAL"]],
  ["wal_autocheckpoint = 250", ["wal_autocheckpoint = 250"]],
  ["wal_autocheckpoint = 16000", ["wal_autocheckpoint = 16000"]],
  ["cache_size = -2000", ["cache_size = -2000"]],
  ["mmap_size = 268435456", ["mmap_size = 268435456"]],
];

/** Documents of 2 kB: more than the small cache holds, less than the one it runs with. */
const DOCUMENTS = 8_000;
const DOCUMENT = "x".repeat(2_000);
const CHANGES_PER_ROUND = 250;
const READS_PER_ROUND = 2_000;

export const storeSettings: Benchmark = {
  summary: "what each setting of the embedded database gives and costs",
  run,
};

async function run({ quick }: Options): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "flagback-bench-settings-"));
  const opened = VARIANTS.map(([what, pragmas], n) => new Variant(what, join(folder, `${n}.db`), pragmas));
  try {
    for (let round = -1; round < (quick ? 4 : 12); round++) {
      for (const variant of opened) {
        variant.round();
        if (round < 0) variant.forget();
      }
    }
    const columns = ["setting", "change p50", "p99", "longest", "read p50", "journal"];
    const rows = opened.map((variant) => variant.row());
    const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] as string).length)));
    const text = [columns, ...rows]
      .map((row) =>
        row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))),
      )
      .map((cells) => `  ${cells.join("  ")}`)
      .join("\n");
    return { rows: [], failures: [], text: `${text}\n  times in ms, the journal's largest size in MiB` };
  } finally {
    for (const variant of opened) variant.close();
    await rm(folder, { recursive: true });
  }
}

/** A database of its own with one setting otherwise. */
class Variant {
  readonly #what: string;
  readonly #database: Database.Database;
  readonly #change: (n: number) => void;
  readonly #read: (n: number) => unknown;
  readonly #random: Rng = xoshiro128(1);
  #changes: number[] = [];
  #reads: number[] = [];
  #written = 0;
  #journalBytes = 0;

  constructor(what: string, file: string, pragmas: readonly string[]) {
    this.#what = what;
    const database = openDatabase(file);
    this.#database = database;
    for (const pragma of pragmas) database.pragma(pragma);
    const put = database.prepare("REPLACE INTO documents VALUES ('alias', ?, ?)");
    const audit = database.prepare(
      "INSERT INTO audit (timestamp, actor, action, target, summary) VALUES ('', '{}', 'rollback', 'alias:a', ?)",
    );
    const history = database.prepare("INSERT INTO history VALUES (?, '0123456789abcdef', '[]', '')");
    const read = database.prepare("SELECT document FROM documents WHERE kind = 'alias' AND key = ?").pluck();
    // In parts, so that the journal is not as long as all of them.
    const fill = database.transaction((from: number, to: number) => {
      for (let n = from; n < to; n++) put.run(keyOf(n), DOCUMENT);
    });
    for (let from = 0; from < DOCUMENTS; from += 500) fill(from, from + 500);
    this.#change = database.transaction((n: number) => {
      this.#written += 1;
      put.run(keyOf(n), DOCUMENT);
      audit.run("Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=error_spike, stage=canary");
      history.run(this.#written);
    }).immediate;
    this.#read = (n) => read.get(keyOf(n));
  }

  round(): void {
    for (let i = 0; i < CHANGES_PER_ROUND; i++) this.#changes.push(this.#timed(this.#change));
    for (let i = 0; i < READS_PER_ROUND; i++) this.#reads.push(this.#timed(this.#read));
    const journal = `${this.#database.name}-wal`;
    this.#journalBytes = Math.max(this.#journalBytes, statSync(journal, { throwIfNoEntry: false })?.size ?? 0);
  }

  /** What came before was to warm up. */
  forget(): void {
    this.#changes = [];
    this.#reads = [];
  }

  row(): string[] {
    const { p50, p99, max } = spreadOf(this.#changes);
    const read = quantile(
      this.#reads.sort((a, b) => a - b),
      0.5,
    );
    const journal = (this.#journalBytes / 2 ** 20).toFixed(0);
    return [this.#what, p50.toFixed(2), p99.toFixed(1), max.toFixed(0), read.toFixed(4), journal];
  }

  close(): void {
    this.#database.close();
  }

  #timed(act: (n: number) => unknown): number {
    const n = this.#random() % DOCUMENTS;
    const begunMs = performance.now();
    act(n);
    return performance.now() - begunMs;
  }
}

function keyOf(n: number): string {
  return `alias-${n}`;
}
