/** Steps about where context comes from and which level wins. */
import type { Registry } from "../registry.ts";
import { same } from "../same.ts";
import { LEVELS, type Level, type SpecWorld } from "../world.ts";

export function contextSteps(steps: Registry<SpecWorld>): void {
  steps
    .define(
      /A context entry with key "(.*)" and value "(.*)" is added to the "(.*)" level/,
      (world, [key = "", value = "", level = ""]) => {
        world.contexts[levelOf(level)][key] = value;
      },
    )
    .define(/A table with levels of increasing precedence/, (world, _, rows) => {
      world.levels = rows.map(([level = ""]) => level);
    })
    .define(
      /Context entries for each level from API level down to the "(.*)" level, with key "(.*)" and value "(.*)"/,
      (world, [last = "", key = "", value = ""]) => {
        const covered = world.levels.slice(0, world.levels.indexOf(last) + 1);
        if (covered.length === 0) throw new Error(`the table has no level ${last}`);
        // Each level has a value of its own, its name, so that the wrong one winning shows.
        for (const level of covered) world.contexts[levelOf(level)][key] = level;
        same(`the value of the level ${last}`, last, value);
      },
    )
    .define(/Some flag was evaluated/, async (world) => {
      world.flag = { type: "boolean", key: "boolean-flag", fallback: false };
      world.details = await world.evaluate();
      same("the flag's value", world.details.value, true);
    })
    .define(/The merged context contains an entry with key "(.*)" and value "(.*)"/, (world, [key = "", value]) =>
      same(`the merged context's ${key}`, world.mergedContext[key], value),
    );
}

/** @throws for a level that OpenFeature does not have */
function levelOf(text: string): Level {
  const level = LEVELS.find((known) => known === text);
  if (!level) throw new Error(`${text} is no level of evaluation context`);
  return level;
}
