/**
 * The way of an outcome into the outbox: attributed, checked and announced. Nothing here throws into an agent.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { MAX_ATTRIBUTED_KEYS } from "../limits.ts";
import type { ProblemLog } from "../logger.ts";
import { Attribution } from "./attribution.ts";
import type { Announcement, Assignment, Outbox } from "./outbox.ts";
import { checkOutcome } from "./outcome.ts";

type Fields = Readonly<Record<string, unknown>>;

export class OutcomeReporter {
  /** Who got what, for outcomes that come without an assignment. */
  readonly attribution = new Attribution(MAX_ATTRIBUTED_KEYS);
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

  assign(assignment: Assignment): Announcement {
    const announcement = this.#outbox.assign(assignment, this.#clock.monotonicMs());
    this.#wakeUp();
    return announcement;
  }

  /** An outcome on an assignment. One that was not announced yet is announced in the same batch. */
  report(assignment: Announcement | Assignment, outcome: Fields): void {
    try {
      this.#report(assignment, outcome);
    } catch (error) {
      // Such as a getter of the caller's that throws.
      this.#outbox.drop("invalid");
      this.#log.error("internal.outcome", `an outcome could not be reported: ${String(error)}`);
    }
  }

  /** An outcome that says neither version nor run: it belongs to what its targeting key got last. */
  track(targetingKey: string | undefined, details: Fields): void {
    const { alias, version, runId, value: _, ...fields } = details;
    const served = this.attribution.lastServed(targetingKey, typeof alias === "string" ? alias : undefined);
    if (!served || (version !== undefined && version !== served.version)) {
      this.#outbox.drop("unattributed");
      this.#log.warn(
        "outcome.unattributed",
        "an outcome was tracked for a targeting key that no such version was evaluated for; it is not counted",
      );
      return;
    }
    this.report(served, { ...fields, runId: typeof runId === "string" && runId !== "" ? runId : randomUUID() });
  }

  #report(assignment: Announcement | Assignment, outcome: Fields): void {
    const { alias, version } = assignment;
    // The check copies: what it is given may be the caller's own object.
    const checked = checkOutcome({ ...outcome, alias, version });
    for (const problem of checked.problems) {
      this.#log.warn(`outcome.${problem}`, `an outcome of ${alias} has a field that is left out: ${problem}`);
    }
    if (checked.kind === "invalid") return this.#outbox.drop("invalid");
    const nowMs = this.#clock.monotonicMs();
    const announced = "seq" in assignment ? assignment : this.#outbox.assign(assignment, nowMs);
    this.#outbox.report(announced, checked.outcome, nowMs);
    this.#wakeUp();
  }
}
