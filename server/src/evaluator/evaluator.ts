/**
 * The brain at work: woken by outcomes, it judges an alias's rollout and commands what its verdict and the policy say.
 * Never by polling; the server's tick wakes it only where time itself is news: a run's timeout, silence, the end of a hold.
 */
import {
  canRollBack,
  type DrillPass,
  explain,
  hasDoubled,
  isRollback,
  isUnderWay,
  judgeInFull,
  type Ledger,
  type StopFinding,
  type StopVerdict,
  stopDecisionId,
  type Verdict,
} from "@flagback/core";
import { durationMs, type Rollout } from "@flagback/schemas";
import { BRAIN } from "../actors.ts";
import { digestOf } from "../engine/canonical.ts";
import type { Engine } from "../engine/engine.ts";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import { withinSpan } from "../telemetry/tracing.ts";
import { automaticStep, hasSoaked, isOvertaken } from "./auto-advance.ts";
import { ExcursionAudit } from "./excursion-audit.ts";
import { Passes } from "./passes.ts";

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
  readonly #drillPasses: () => readonly DrillPass[];
  readonly #excursions: ExcursionAudit;
  readonly #standings = new Map<string, Standing>();
  /** Since when there is evidence against an alias's candidate: a log above 0, without a break. */
  readonly #risingSince = new Map<string, { readonly rolloutNumber: number; readonly ms: number }>();
  readonly #passes: Passes;

  constructor(parts: {
    readonly engine: Engine;
    readonly book: LedgerBook;
    readonly monotonicMs: () => number;
    readonly now: () => number;
    /** Drills that passed. Default: none. */
    readonly drillPasses?: () => readonly DrillPass[];
    readonly onError: (error: unknown, alias: string) => void;
  }) {
    this.#engine = parts.engine;
    this.#book = parts.book;
    this.#monotonicMs = parts.monotonicMs;
    this.#now = parts.now;
    this.#drillPasses = parts.drillPasses ?? (() => []);
    this.#passes = new Passes({
      judge: (alias, arrivedAtMs) => this.#judgeAlias(alias, arrivedAtMs),
      onError: parts.onError,
      monotonicMs: parts.monotonicMs,
    });
    this.#excursions = new ExcursionAudit((row) => this.#engine.audit({ actor: BRAIN, ...row }), parts.monotonicMs);
  }

  /** Outcomes of these aliases were counted, which came at `arrivedMs` of the monotonic clock. */
  markDirty(aliases: Iterable<string>, arrivedMs?: number): void {
    this.#passes.markDirty(aliases, arrivedMs);
  }

  /** A second has passed: whoever is held by time, silent for too long, has a tick to compare, or may go up by itself, is looked at. */
  tick(): void {
    const waiting = [...this.#engine.world.aliases.values()].filter((alias) => {
      const { name, rollout } = alias;
      if (!rollout) return false;
      if (hasSoaked(alias, this.#now())) return true;
      if (this.#book.hasNewlyClosed({ alias: name, rolloutNumber: rollout.rolloutNumber })) return true;
      const cause = rollout.hold?.cause;
      if (cause === "shared_cause" || cause === "no_data") return true;
      return rollout.state === "exposing" && this.#isSilent(name, rollout);
    });
    this.markDirty(waiting.map((alias) => alias.name));
  }

  /** The last verdict on the alias's current rollout. */
  standingOf(alias: string): Standing | undefined {
    const standing = this.#standings.get(alias);
    return standing?.rolloutNumber === this.#engine.world.aliases.get(alias)?.rolloutNumber ? standing : undefined;
  }

  /** Finishes what is under way and stops. Safe twice. */
  close(): Promise<void> {
    return this.#passes.close();
  }

  async #judgeAlias(name: string, arrivedAtMs: number): Promise<void> {
    const alias = this.#engine.world.aliases.get(name);
    const rollout = alias?.rollout;
    if (!alias || !rollout || !canRollBack(alias, new Date(this.#now()).toISOString())) return;
    const ledger = this.#book.ledgerOf({ alias: name, rolloutNumber: rollout.rolloutNumber });
    const judged = ledger && ledger.guardrails.length > 0 ? judgeInFull(ledger) : undefined;
    // What people were asked is settled by their answer; what else there is goes on.
    const verdict = judged && (judged.verdict === judged.asking ? judged.standing : judged.verdict);
    if (ledger && verdict) {
      this.#standings.set(name, { verdict, rolloutNumber: rollout.rolloutNumber });
      this.#noteRise(name, rollout, verdict, arrivedAtMs);
      if (judged?.asking && !isRollback(verdict))
        await this.#ask(name, rollout, judged.asking, judged.standing, ledger);
      if (verdict.kind === "stop") return this.#stop(name, rollout, verdict, ledger, arrivedAtMs);
      if (verdict.kind === "hold") await this.#hold(name, rollout, verdict, ledger, arrivedAtMs);
      else {
        const key = { alias: name, rolloutNumber: rollout.rolloutNumber, version: rollout.candidate };
        await this.#excursions.see(name, rollout, verdict, () => this.#book.lastRunIds(key));
      }
    }
    if (isUnderWay(alias)) await this.#watchSilence(name, rollout);
    if (verdict?.kind === "allow") await this.#goUp(name, ledger);
  }

  /** Takes the next step by itself where the policy says `advance: auto` and the gate is open. */
  async #goUp(name: string, ledger: Ledger | undefined): Promise<void> {
    const { world } = this.#engine;
    const alias = world.aliases.get(name);
    const step = alias && automaticStep(world, alias, ledger, this.#drillPasses(), this.#now());
    if (!step) return;
    try {
      await this.#engine.execute(step, BRAIN);
    } catch (error) {
      if (!isOvertaken(error)) throw error;
    }
  }

  #noteRise(name: string, { rolloutNumber }: Rollout, verdict: Verdict, arrivedAtMs: number): void {
    if (verdict.logE <= 0) this.#risingSince.delete(name);
    else if (this.#risingSince.get(name)?.rolloutNumber !== rolloutNumber) {
      this.#risingSince.set(name, { rolloutNumber, ms: arrivedAtMs });
    }
  }

  /** What a breach means: the leading guardrail's mode and action say. */
  async #stop(
    name: string,
    rollout: Rollout,
    verdict: StopVerdict,
    ledger: Ledger,
    arrivedAtMs: number,
  ): Promise<void> {
    const summary = explain(verdict, rollout.candidate);
    if (verdict.mode === "approval") return this.#ask(name, rollout, verdict, verdict, ledger);
    if (!isRollback(verdict)) {
      await this.#command(name, { cause: "freeze", summary, verdict, engage: verdict.action === "switch" });
      return;
    }
    const key = { alias: name, rolloutNumber: rollout.rolloutNumber, version: rollout.candidate };
    const { settled, missing } = this.#book.totalsOf(key);
    const finding = this.#findingOf(name, rollout, verdict, verdict, ledger);
    const decideMs = this.#monotonicMs() - arrivedAtMs;
    const attributes = {
      "flagback.alias": name,
      "flagback.candidate": rollout.candidate,
      "flagback.reason": verdict.reason,
      "flagback.log_e": verdict.logE,
    };
    await withinSpan("flagback.decide", { startTime: this.#now() - decideMs, attributes }, undefined, async (trace) => {
      await this.#engine.execute(
        { kind: "rollback", alias: name, rolloutNumber: rollout.rolloutNumber, reason: summary, finding },
        BRAIN,
        {
          detectMs: Math.max(0, arrivedAtMs - (this.#risingSince.get(name)?.ms ?? arrivedAtMs)),
          decideMs,
          outcomesToDecision: settled + missing,
          trace,
        },
      );
    });
  }

  /**
   * Opens a decision, or opens it again: then on what was counted by now, because what was decided at its tick stays. Asking
   * costs a copy of the ledger, so it is left out where it would be unchanged.
   */
  async #ask(name: string, rollout: Rollout, asking: StopVerdict, standing: Verdict, ledger: Ledger): Promise<void> {
    if (rollout.openDecision !== undefined) return;
    const id = stopDecisionId(name, rollout, digestOf);
    const before = this.#engine.world.asked.get(id);
    const counted = before ? standing : asking;
    if (before && !hasDoubled(before.evidence, counted.guardrails)) return;
    const { rolloutNumber } = rollout;
    const finding = this.#findingOf(name, rollout, asking, counted, ledger);
    const summary = explain({ ...asking, guardrails: counted.guardrails }, rollout.candidate);
    const { leading, action } = asking;
    const engage = action === "switch";
    try {
      await this.#engine.execute({ kind: "ask", alias: name, rolloutNumber, finding, leading, summary, engage }, BRAIN);
    } catch (error) {
      if (!isOvertaken(error)) throw error;
    }
  }

  #findingOf(
    alias: string,
    { rolloutNumber, candidate }: Rollout,
    { reason, attribution }: StopVerdict,
    counted: Verdict,
    ledger: Ledger,
  ): StopFinding {
    return {
      reason,
      attribution,
      evidence: counted.guardrails,
      lastRunIds: this.#book.lastRunIds({ alias, rolloutNumber, version: candidate }),
      // A copy: the ledger goes on counting.
      input: structuredClone(ledger),
    };
  }

  async #hold(
    name: string,
    rollout: Rollout,
    verdict: Extract<Verdict, { kind: "hold" }>,
    ledger: Ledger,
    arrivedAtMs: number,
  ): Promise<void> {
    const shared = rollout.policy.onSharedCause;
    const isShared = verdict.reason === "shared_cause";
    const heldMs = rollout.hold?.cause === "shared_cause" ? this.#now() - Date.parse(rollout.hold.since) : 0;
    if (isShared && shared.then === "stop" && rollout.hold && heldMs >= durationMs(shared.for)) {
      const stop: StopVerdict = { ...verdict, kind: "stop", reason: "sla_breach", attribution: "shared" };
      return this.#stop(name, rollout, stop, ledger, arrivedAtMs);
    }
    await this.#command(name, {
      cause: verdict.reason,
      summary: explain(verdict, rollout.candidate),
      verdict,
      engage: isShared && shared.engage,
    });
  }

  /** Silence is not success: a candidate that nobody hears of is held, or stopped where the policy says so. */
  async #watchSilence(name: string, rollout: Rollout): Promise<void> {
    const isSilent = this.#isSilent(name, rollout);
    const isHeldForIt = rollout.hold?.cause === "no_data";
    if (isHeldForIt && !isSilent) {
      await this.#engine.execute(
        { kind: "endHold", alias: name, cause: "no_data", reason: "outcomes of the candidate come again" },
        BRAIN,
      );
    }
    if (!isSilent || isHeldForIt) return;
    const { after, then } = rollout.policy.onNoData;
    const summary = `No outcome of ${rollout.candidate} came for ${after}.`;
    if (then === "hold") return this.#command(name, { cause: "no_data", summary, engage: false });
    const finding = {
      reason: "rollback_required",
      attribution: "undetermined",
      evidence: [],
      lastRunIds: [],
      input: null,
    } as const;
    await this.#engine.execute(
      { kind: "rollback", alias: name, rolloutNumber: rollout.rolloutNumber, reason: summary, finding },
      BRAIN,
    );
  }

  #isSilent(name: string, rollout: Rollout): boolean {
    const lastMs = this.#book.lastOutcomeMs({ alias: name, rolloutNumber: rollout.rolloutNumber });
    const sinceStageMs = this.#now() - Date.parse(rollout.stageStartedAt);
    const silentMs = Math.min(sinceStageMs, this.#monotonicMs() - lastMs);
    return silentMs >= durationMs(rollout.policy.onNoData.after);
  }

  async #command(
    alias: string,
    hold: {
      readonly cause: NonNullable<Rollout["hold"]>["cause"];
      readonly summary: string;
      readonly verdict?: Verdict;
      readonly engage: boolean;
    },
  ): Promise<void> {
    const { cause, summary, engage } = hold;
    const evidence = hold.verdict?.guardrails ?? [];
    await this.#engine.execute({ kind: "holdRollout", alias, cause, summary, evidence, engage }, BRAIN);
  }
}
