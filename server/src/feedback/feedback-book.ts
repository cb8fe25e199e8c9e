/**
 * Takes what is said about runs that can't be judged any more: stored once, counted in metrics, shown to nobody but people.
 */
import type { Feedback, Outcome, StoredFeedback } from "@flagback/schemas";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** Late outcomes that wait for the next flush; those beyond it are dropped, and counted. */
const MAX_WAITING = 2_000;

export class FeedbackBook {
  readonly #store: Pick<Store, "putFeedback">;
  readonly #metrics: Pick<Metrics, "feedback" | "dropped">;
  readonly #now: () => number;
  #waiting: Feedback[] = [];

  constructor(parts: {
    readonly store: Pick<Store, "putFeedback">;
    readonly metrics: Pick<Metrics, "feedback" | "dropped">;
    readonly now: () => number;
  }) {
    this.#store = parts.store;
    this.#metrics = parts.metrics;
    this.#now = parts.now;
  }

  /** Durable when it resolves. Answers how much of it was known by its id. */
  async take(feedback: readonly Feedback[]): Promise<number> {
    if (feedback.length === 0) return 0;
    const receivedAt = new Date(this.#now()).toISOString();
    const rows: StoredFeedback[] = feedback.map((each) => ({ ...each, receivedAt }));
    const { duplicates, dropped } = await this.#store.putFeedback(rows);
    this.#metrics.feedback.inc({ result: "accepted" }, rows.length - duplicates);
    this.#metrics.feedback.inc({ result: "duplicate" }, duplicates);
    if (dropped > 0) this.#metrics.dropped.inc({ reason: "feedback" }, dropped);
    return duplicates;
  }

  /**
   * Outcomes that came too late to be judged, durable when it resolves. The same one again is the same feedback. What can't be
   * stored is noted: their runs are counted, so that nobody takes them a second time.
   */
  async takeLate(outcomes: readonly Outcome[]): Promise<void> {
    try {
      await this.take(outcomes.map(feedbackOf));
    } catch (error) {
      this.noteLate(outcomes);
      throw error;
    }
  }

  /** The same for a sender who waits for no answer: kept until `flush`, so that a stream of them costs a write at a time. */
  noteLate(outcomes: readonly Outcome[]): void {
    const taken = outcomes.slice(0, MAX_WAITING - this.#waiting.length);
    this.#waiting.push(...taken.map(feedbackOf));
    if (taken.length < outcomes.length) {
      this.#metrics.dropped.inc({ reason: "feedback" }, outcomes.length - taken.length);
    }
  }

  /** Stores what was noted. What can't be stored is noted again. */
  async flush(): Promise<void> {
    const noted = this.#waiting;
    this.#waiting = [];
    try {
      await this.take(noted);
    } catch (error) {
      this.#waiting = [...noted, ...this.#waiting].slice(0, MAX_WAITING);
      throw error;
    }
  }
}

function feedbackOf(outcome: Outcome): Feedback {
  const { runId, alias, version, conversationId, status, errorType } = outcome;
  const { costUsd, quality, safetyFlags, attributes, metrics } = outcome;
  const said = { status, errorType, costUsd, quality, safetyFlags, attributes, metrics };
  return { id: `outcome:${runId}`, runId, alias, version, conversationId, ...said };
}
