/**
 * What callers of evaluations get wrong, told once each. They get an answer all the same.
 */
import type { ErrorCode, EvaluationContext } from "@openfeature/core";
import type { ProblemLog } from "./logger.ts";

export class MisuseLog {
  readonly #log: ProblemLog;

  constructor(log: ProblemLog) {
    this.#log = log;
  }

  /** An evaluation ends with an error code: the flag's definition is wrong, or its caller takes it for something else. */
  readonly failed = (key: string, errorCode: ErrorCode, errorMessage: string): void => {
    this.#log.warn(
      `evaluation.${errorCode}.${key}`,
      `reading ${key} fails with ${errorCode} (${errorMessage}); its callers get their default`,
    );
  };

  /** Whoever splits traffic should know that runs without a targeting key are not part of it. */
  splitWithoutKey(alias: string): void {
    this.#log.warn(
      `context.withoutKey.${alias}`,
      `${alias} is split and was evaluated without a targeting key: such runs get stable`,
    );
  }

  /** Whether the context has a targeting key that is no text. */
  hasKeyOfNoText(context: EvaluationContext | undefined): boolean {
    const key: unknown = context?.targetingKey;
    if (typeof key === "string" || key === undefined) return false;
    const is = key === null ? "null" : typeof key;
    this.#log.warn(
      "context.targetingKey",
      `the targeting key is no text (${is}): aliases count it as none and give stable`,
    );
    return true;
  }
}
