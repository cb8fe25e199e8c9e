/** Steps that bring a provider into a status and read it back. */
import type { Registry } from "../registry.ts";
import { same } from "../same.ts";
import type { SpecWorld } from "../world.ts";

export function statusSteps(steps: Registry<SpecWorld>): void {
  steps
    .define(/a stable provider(?: with retrievable context is registered)?/, (world) => world.becomeStable())
    .define(/a not ready provider/, (world) => world.becomeNotReady())
    .define(/a error provider/, (world) => world.becomeError())
    .define(/a fatal provider/, (world) => world.becomeFatal())
    .define(/a stale provider/, (world) => world.becomeStale())
    .define(/the provider status should be "(.*)"/, (world, [status]) => {
      same("the status", world.client.providerStatus, status);
    });
}
