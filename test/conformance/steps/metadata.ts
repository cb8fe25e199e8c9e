/** Steps about flag metadata, and about what nobody may change. */
import type { Registry } from "../registry.ts";
import { same } from "../same.ts";
import { flagType, parseValue } from "../values.ts";
import type { SpecWorld } from "../world.ts";

export function metadataSteps(steps: Registry<SpecWorld>): void {
  steps
    .define(/the resolved metadata should contain/, (world, _, [header = [], ...rows]) => {
      same("the table's header", header, ["key", "metadata_type", "value"]);
      for (const [key = "", type = "", text = ""] of rows) {
        same(`metadata ${key}`, world.details.flagMetadata[key], parseValue(flagType(type), text));
      }
    })
    .define(/the resolved metadata is empty/, (world) => same("the metadata", world.details.flagMetadata, {}))
    .define(/an evaluation context with modifiable data/, (world) => {
      Object.assign(world.contexts.Invocation, { targetingKey: "user-1", plan: { seats: [1, 2] }, isStaff: true });
      world.originalContext = structuredClone(world.contexts.Invocation);
    })
    .define(/the original evaluation context should remain unmodified/, (world) => {
      same("the context", world.contexts.Invocation, world.originalContext);
      same("the context's being frozen", Object.isFrozen(world.contexts.Invocation), false);
    })
    .define(/the evaluation details should be immutable/, async (world) => {
      // The SDK's details are a plain object of the caller's own; what it shares with others must not give way.
      const before = structuredClone(world.details);
      same("the metadata's being frozen", Object.isFrozen(world.details.flagMetadata), true);
      Object.assign(world.details, { value: "tampered", variant: "tampered" });
      same("a second evaluation", await world.evaluate(), before);
    });
}
