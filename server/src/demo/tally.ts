/**
 * What a runtime did, counted by the revision that it had applied.
 */
import { WRITE_DENIED } from "@flagback/provider";
import type { Progress, ResolutionCount } from "./messages.ts";
import { CANDIDATE } from "./scenario.ts";

export class Tally {
  #runs = 0;
  #writesDone = 0;
  #writesRefused = 0;
  #firstRefusal: string | undefined;
  readonly #counts: ResolutionCount[] = [{ revision: 0, all: 0, candidate: 0 }];

  /** The provider holds this revision from now on. */
  applied(revision: number): void {
    this.#counts.push({ revision, all: 0, candidate: 0 });
  }

  /** Call it when a resolution starts, and what it returns when it is there: a resolution counts where it began. */
  resolving(): (version: string) => void {
    const at = this.#counts.length - 1;
    return (version) => {
      const { revision, all, candidate } = this.#counts[at] ?? { revision: 0, all: 0, candidate: 0 };
      this.#counts[at] = { revision, all: all + 1, candidate: candidate + (version === CANDIDATE ? 1 : 0) };
    };
  }

  ran(): void {
    this.#runs += 1;
  }

  wrote(said: string): void {
    if (said !== WRITE_DENIED) {
      this.#writesDone += 1;
      return;
    }
    this.#writesRefused += 1;
    this.#firstRefusal ??= said;
  }

  progress(): Progress {
    return {
      runs: this.#runs,
      writesDone: this.#writesDone,
      writesRefused: this.#writesRefused,
      firstRefusal: this.#firstRefusal,
      resolutions: this.#counts,
    };
  }
}
