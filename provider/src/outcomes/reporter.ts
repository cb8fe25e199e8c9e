/**
 * The way of an outcome into the outbox: attributed, checked and announced. Nothing here throws into an agent, and what was
 * announced is settled, whatever is reported about it.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { MAX_ATTRIBUTED_KEYS, MAX_REMEMBERED_RUN_IDS } from "../limits.ts";
import type { ProblemLog } from "../logger.ts";
import { describeThrown } from "../thrown.ts";
import type { Announcement, Assignment } from "./assignments.ts";
import { Attribution } from "./attribution.ts";
import type { Outbox } from "./outbox.ts";
import { checkOutcome, fieldsOf } from "./outcome.ts";
import { RunIds } from "./run-ids.ts";

export class OutcomeReporter {
  /** Who got what, for outcomes that come without an assignment. */
  readonly attribution = new Attribution(MAX_ATTRIBUTED_KEYS);
  readonly #runIds = new RunIds(MAX_REMEMBERED_RUN_IDS);
  readonly #outbox: Outbox;
  readonly #log: ProblemLog;
  readonly #clock: Clock;
  readonly #wakeUp: () => void;

  /** @param wakeUp called after something was put into the outbox */
  constructor(outbox: Outbox, log: ProblemLog, clock: Clock, wakeUp: () => void) {
    this.#outbox = outbox;
    this.#log = log;
    this.#clock = clock;
    this.#wakeUp = wakeUp;
  }

  /** @param latencyLimitsMs ascending; the run, which is `ageMs` old, is reported as overdue for each that it passes */
  assign(assignment: Assignment, ageMs: number, latencyLimitsMs: readonly number[]): Announcement {
    const nowMs = this.#clock.monotonicMs();
    const announcement = this.#outbox.assign(assignment, nowMs);
    this.#outbox.watch(announcement, nowMs - ageMs, latencyLimitsMs);
    this.#wakeUp();
    return announcement;
  }

  /**
   * The outcome of one run on an assignment. One that was not announced yet is announced in the same batch. A run id that an
   * earlier run on the alias had is made unique.
   */
  report(assignment: Announcement | Assignment, reported: unknown): void {
    this.#guard(() => this.#report(assignment, reported, "run"));
  }

  /** An outcome that says neither version nor run: it belongs to what its targeting key got last. */
  track(targetingKey: string | undefined, details: unknown): void {
    this.#guard(() => {
      const { alias, version, value, ...others } = fieldsOf(details);
      const fields = typeof value === "number" ? { ...others, metrics: metricsWith(value, others.metrics) } : others;
      const served = this.attribution.lastServed(targetingKey, typeof alias === "string" ? alias : undefined);
      if (served && (version === undefined || version === served.version)) {
        // Tracked twice under one run id may be one run said twice: the server counts one of them.
        return this.#report(served, { runId: randomUUID(), ...fields }, "tracked");
      }
      this.#outbox.drop("unattributed");
      this.#log.warn(
        "tracked.unattributed",
        "an outcome was tracked for a targeting key that no such version was evaluated for; it is not counted",
      );
    });
  }

  #guard(report: () => void): void {
    try {
      report();
    } catch (error) {
      this.#outbox.drop("invalid");
      this.#log.error("internal.outcome", `an outcome could not be reported: ${describeThrown(error)}`);
    }
  }

  #report(assignment: Announcement | Assignment, reported: unknown, from: "run" | "tracked"): void {
    const { alias } = assignment;
    // The check copies: what it is given may be the caller's own object.
    const checked = checkOutcome(assignment, reported);
    for (const problem of checked.problems) {
      this.#log.warn(`outcome.${problem}`, `an outcome of ${alias} has a field that can't be used: ${problem}`);
    }
    if (checked.kind === "invalid") return this.#outbox.drop("invalid");
    // Nobody waits for a run that was not announced: better none than one whose end is made up.
    if (!checked.isEndKnown && !("seq" in assignment)) return this.#outbox.drop("invalid");
    if (checked.problems.length > 0) this.#outbox.countRepaired();
    const { outcome } = checked;
    const runId = from === "run" ? this.#runIds.claim(alias, outcome.runId) : outcome.runId;
    if (runId !== outcome.runId) {
      this.#log.warn(
        "runId.reused",
        `the run id ${outcome.runId} of ${alias} was reported before; later runs under it get a suffix, such as ${runId}`,
      );
    }
    const nowMs = this.#clock.monotonicMs();
    const announced = "seq" in assignment ? assignment : this.#outbox.assign(assignment, nowMs);
    if (this.#outbox.report(announced, { ...outcome, runId }, nowMs) === "slimmed") {
      this.#log.warn("outcome.size", `an outcome of ${alias} is too large; its metrics and attributes are left out`);
    }
    this.#wakeUp();
  }
}

/** OpenFeature's one number of a tracked event (specification 6.2.1) is the metric `value`, unless the metrics name one. */
function metricsWith(value: number, metrics: unknown): unknown {
  return metrics === undefined || typeof metrics === "object" ? { value, ...fieldsOf(metrics) } : metrics;
}
