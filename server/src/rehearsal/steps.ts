/**
 * The steps of a drill as they are done: each ends with pass or fail, why, and how long it took, and is told to the server at
 * once.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { DrillFault, DrillStep } from "@flagback/schemas";

const LOOK_EVERY_MS = 40;

/** What a look at the world says: it is so, it is not so yet, or it will never be. */
export type Look = { readonly kind: "pass" | "wait" | "fail"; readonly why: string };

export const pass = (why: string): Look => ({ kind: "pass", why });
export const wait = (why: string): Look => ({ kind: "wait", why });
export const fail = (why: string): Look => ({ kind: "fail", why });

export interface StepsParts {
  /** Tells the server. */
  readonly tell: (step: DrillStep) => Promise<unknown>;
  readonly say: (step: DrillStep) => void;
  /** Aborted where the drill is broken off. */
  readonly signal: AbortSignal;
}

export class Steps {
  readonly #parts: StepsParts;

  constructor(parts: StepsParts) {
    this.#parts = parts;
  }

  /** Looks until it is so, or until the time is over; then what was last missing is why it failed. Answers whether it passed. */
  async until(
    name: DrillStep["name"],
    fault: DrillFault,
    mostMs: number,
    look: () => Look | Promise<Look>,
  ): Promise<boolean> {
    const { signal } = this.#parts;
    const begunMs = performance.now();
    for (;;) {
      signal.throwIfAborted();
      const seen = await looked(look);
      const ms = performance.now() - begunMs;
      if (seen.kind === "wait" && ms < mostMs) {
        await delay(LOOK_EVERY_MS, undefined, { signal });
        continue;
      }
      const late = seen.kind === "wait" ? `after ${Math.round(mostMs / 1_000)} s: ` : "";
      const step: DrillStep = {
        name,
        fault,
        result: seen.kind === "pass" ? "pass" : "fail",
        why: `${late}${seen.why}`,
        ms: Math.round(ms),
      };
      this.#parts.say(step);
      await this.#parts.tell(step);
      return step.result === "pass";
    }
  }
}

/** A refusal that a step did not expect is why it failed. */
async function looked(look: () => Look | Promise<Look>): Promise<Look> {
  try {
    return await look();
  } catch (error) {
    return fail((error as Error).message);
  }
}
