/**
 * Answers that are handed out again, said in OpenFeature's word for it: the reason CACHED (specification 2.2.5).
 */
import type { Resolution } from "./results.ts";

export class RepeatedAnswers {
  /** What is said instead of an answer from its second time on. */
  readonly #instead = new WeakMap<Resolution<unknown>, Resolution<unknown>>();

  /** The answer itself at first, and the same with the reason CACHED whenever it comes again. */
  next<T>(answer: Resolution<T>): Resolution<T> {
    const instead = this.#instead.get(answer);
    // Made from this very answer, so of its type.
    if (instead !== undefined) return instead as Resolution<T>;
    this.#instead.set(
      answer,
      answer.then((details) => Object.freeze({ ...details, reason: "CACHED" })),
    );
    return answer;
  }
}
