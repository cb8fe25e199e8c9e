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

const PROVIDERS = { "ignores-the-switch": IgnoresTheSwitch, "does-not-report": DoesNotReport } as const;
const Sabotaged = PROVIDERS[process.argv[2] as keyof typeof PROVIDERS];

await playDrillRuntime((options) => new Sabotaged(options));
