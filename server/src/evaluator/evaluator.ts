/**
 * The brain at work: woken by outcomes, it judges an alias's rollout and commands the rollback. Never by polling; the
 * server's tick wakes it only where a run's time was up.
 */
import { canRollBack, judge, type Verdict } from "@flagback/core";
import type { Actor, Rollout } from "@flagback/schemas";
import type { Engine } from "../engine/engine.ts";
import type { LedgerBook } from "../ledger/ledger-book.ts";

/** Outcomes that arrive within this of each other are judged together; well below the 20 ms that a verdict may be late. */
const JUDGE_DELAY_MS = 5;
/** After a pass the brain rests this many times as long as the pass took. */
const JUDGE_REST_FACTOR = 4;
/** A command that failed is tried again after this. */
const RETRY_DELAY_MS = 1_000;
/** An excursion that ends in `allow` is audited at most so often for an alias and stage. */
const ALLOW_AUDIT_INTERVAL_MS = 60_000;
/** Evidence above this part of what a stop needs is an excursion. */
const EXCURSION_PART = 0.5;

const BRAIN: Actor = { kind: "brain", name: "brain" };

/** How an alias's rollout stands, as the evaluator last saw it. */
export interface Standing {
  readonly verdict: Verdict;
  readonly rolloutNumber: number;
}

export class Evaluator {
  readonly #engine: Engine;
  readonly #book: LedgerBook;
  readonly #monotonicMs: () => number;
  readonly #now: () => number;
  readonly #onError: (error: unknown, alias: string) => void;
  readonly #onVerdict: (alias: string, rollout: Rollout, verdict: Verdict) => void;
  /** Aliases to judge, with the arrival of the last outcome. */
  readonly #dirty = new Map<string, number>();
  readonly #standings = new Map<string, Standing>();
  readonly #excursions = new Map<string, Verdict>();
  readonly #allowAuditedAt = new Map<string, number>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #lastPassMs = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly engine: Engine;
    readonly book: LedgerBook;
    readonly monotonicMs: () => number;
    readonly now: () => number;
    readonly onError: (error: unknown, alias: string) => void;
    readonly onVerdict?: (alias: string, rollout: Rollout, verdict: Verdict) => void;
  }) {
    this.#engine = parts.engine;
    this.#book = parts.book;
    this.#monotonicMs = parts.monotonicMs;
    this.#now = parts.now;
    this.#onError = parts.onError;
    this.#onVerdict = parts.onVerdict ?? (() => undefined);
  }

  /** Outcomes of these aliases were counted. */
  markDirty(aliases: Iterable<string>): void {
    if (this.#isClosed) return;
    const now = this.#monotonicMs();
    for (const alias of aliases) this.#dirty.set(alias, now);
    if (this.#dirty.size > 0) this.#timer ??= setTimeout(() => this.#judgeDirty(), this.#delayMs());
  }

  /** The last verdict on the alias's current rollout. */
  standingOf(alias: string): Standing | undefined {
    const standing = this.#standings.get(alias);
    return standing?.rolloutNumber === this.#engine.world.aliases.get(alias)?.rolloutNumber ? standing : undefined;
  }

  /** Finishes what is under way and stops. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const timer of this.#retries) clearTimeout(timer);
    this.#dirty.clear();
    await this.#running;
  }

  #judgeDirty(): void {
    this.#timer = undefined;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    this.#running = this.#running.then(async () => {
      const begunMs = this.#monotonicMs();
      for (const [alias, arrivedAtMs] of dirty) {
        try {
          await this.#judgeAlias(alias, arrivedAtMs);
        } catch (error) {
          this.#onError(error, alias);
          this.#retrySoon(alias);
        }
      }
      this.#lastPassMs = this.#monotonicMs() - begunMs;
    });
  }

  /** Long ledgers are judged less often, so that leases and the stream keep most of the event loop. */
  #delayMs(): number {
    return Math.max(JUDGE_DELAY_MS, this.#lastPassMs * JUDGE_REST_FACTOR);
  }

  /** A command that the disk refused is tried again: the evidence is still there, and nobody may report any more. */
  #retrySoon(alias: string): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.markDirty([alias]);
    }, RETRY_DELAY_MS);
    this.#retries.add(timer);
  }

  async #judgeAlias(name: string, arrivedAtMs: number): Promise<void> {
    const alias = this.#engine.world.aliases.get(name);
    const rollout = alias?.rollout;
    if (!alias || !rollout || !canRollBack(alias, new Date(this.#now()).toISOString())) return;
    const key = { alias: name, version: rollout.candidate, rolloutNumber: rollout.rolloutNumber };
    const ledger = this.#book.ledgerOf(key);
    if (!ledger || ledger.guardrails.length === 0) return;
    const verdict = judge(ledger);
    this.#standings.set(name, { verdict, rolloutNumber: rollout.rolloutNumber });
    this.#onVerdict(name, rollout, verdict);
    if (verdict.kind === "allow") {
      await this.#auditExcursion(name, rollout, verdict);
      return;
    }
    const finding = {
      reason: verdict.reason,
      attribution: verdict.attribution,
      evidence: verdict.guardrails,
      lastRunIds: this.#book.lastRunIds(key),
      // A copy: the ledger goes on counting.
      input: structuredClone(ledger),
    };
    const { settled, missing } = this.#book.totalsOf(key);
    const summary = `${verdict.leading} crossed: log e-value ${verdict.logE.toFixed(2)} of ${verdict.threshold.toFixed(2)} needed`;
    await this.#engine.execute({ kind: "rollback", alias: name, reason: summary, finding }, BRAIN, {
      decideMs: this.#monotonicMs() - arrivedAtMs,
      outcomesToDecision: settled + missing,
    });
  }

  /** One row for each excursion above half the needed evidence that ended in `allow`. */
  async #auditExcursion(alias: string, rollout: Rollout, verdict: Verdict): Promise<void> {
    const key = `${alias} ${rollout.rolloutNumber} ${rollout.stage}`;
    const half = EXCURSION_PART * verdict.threshold;
    const peak = this.#excursions.get(key);
    if (verdict.logE >= half) {
      if (!peak || verdict.logE > peak.logE) this.#excursions.set(key, verdict);
      return;
    }
    if (!peak) return;
    this.#excursions.delete(key);
    const now = this.#monotonicMs();
    if (now - (this.#allowAuditedAt.get(key) ?? Number.NEGATIVE_INFINITY) < ALLOW_AUDIT_INTERVAL_MS) return;
    this.#allowAuditedAt.set(key, now);
    await this.#engine.audit({
      actor: BRAIN,
      action: "verdict",
      target: `alias:${alias}`,
      decision: "allow",
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      evidence: [...peak.guardrails],
      configHash: rollout.policyHash,
      summary: `Evidence against ${rollout.candidate} rose to ${peak.logE.toFixed(2)} of ${peak.threshold.toFixed(2)} and fell again; the rollout goes on.`,
    });
  }
}
