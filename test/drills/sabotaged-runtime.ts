/**
 * A drill's runtime with a provider that does not do what it should: `sabotaged-runtime.ts SABOTAGE`.
 */
import { FlagbackProvider } from "@flagback/provider";
import { playDrillRuntime } from "../../server/src/rehearsal/runtime.ts";

class IgnoresTheSwitch extends FlagbackProvider {
  override writesAllowed(): boolean {
    return true;
  }
}

class DoesNotReport extends FlagbackProvider {
  override reportOutcome(): void {}
}

/** The network side is as it should be; what agents ask is answered for some as if the candidate were still there. */
class AcknowledgesOnly extends FlagbackProvider {
  #candidate: Answer | undefined;
  #asked = 0;

  override async resolveStringEvaluation(...args: Parameters<FlagbackProvider["resolveStringEvaluation"]>) {
    const answer = await super.resolveStringEvaluation(...args);
    this.#asked += 1;
    if (answer.value.endsWith("@2.4.0")) this.#candidate = answer;
    return this.#asked % STALE_EVERY === 0 && this.#candidate ? this.#candidate : answer;
  }
}

type Answer = Awaited<ReturnType<FlagbackProvider["resolveStringEvaluation"]>>;

/** One answer in so many is stale. */
const STALE_EVERY = 5;

const PROVIDERS = {
  "ignores-the-switch": IgnoresTheSwitch,
  "does-not-report": DoesNotReport,
  "acknowledges-only": AcknowledgesOnly,
} as const;
const Sabotaged = PROVIDERS[process.argv[2] as keyof typeof PROVIDERS];

await playDrillRuntime((options) => new Sabotaged(options));
