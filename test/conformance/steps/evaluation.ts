/** Steps that read a flag and look at what came back. */
import type { Registry } from "../registry.ts";
import { same } from "../same.ts";
import { flagType, parseValue } from "../values.ts";
import type { SpecWorld } from "../world.ts";

export function evaluationSteps(steps: Registry<SpecWorld>): void {
  steps
    .define(/an? (\w+)-flag with key "(.*)" and a fallback value "(.*)"/, (world, [type = "", key = "", text = ""]) => {
      world.flag = { type: flagType(type), key, fallback: parseValue(flagType(type), text) };
    })
    .define(
      /a context containing a key "(.*)", with type "(.*)" and with value "(.*)"/,
      (world, [key = "", type = "", text = ""]) => {
        world.contexts.Invocation[key] = parseValue(flagType(type), text);
      },
    )
    .define(/a context containing a key "(.*)" with null value/, (world, [key = ""]) => {
      world.contexts.Invocation[key] = null;
    })
    .define(/the flag was evaluated with details(?: using the evaluation options)?/, async (world) => {
      world.details = await world.evaluate();
    })
    .define(/the resolved details value should be "(.*)"/, (world, [text = ""]) => {
      same("the value", world.details.value, parseValue(world.flag?.type ?? "string", text));
    })
    .define(/the reason should be "(.*)"/, (world, [reason]) => same("the reason", world.details.reason, reason))
    .define(/the error-code should be "(.*)"/, (world, [code]) => same("the error", world.details.errorCode, code))
    .define(/the flag key should be "(.*)"/, (world, [key]) => same("the flag key", world.details.flagKey, key))
    .define(/the variant should be "(.*)"/, (world, [variant]) => same("the variant", world.details.variant, variant))
    .define(/the flag was evaluated with details asynchronously/, (world) => {
      const turn = new Promise<"turn">((resolve) => setImmediate(() => resolve("turn")));
      world.pending = Promise.race([world.evaluate(), turn]);
    })
    .define(/the evaluation should complete without blocking/, async (world) => {
      const first = await world.pending;
      if (!first) throw new Error("nothing was evaluated asynchronously");
      if (first === "turn") throw new Error("the event loop turned before the answer: the evaluation waited for I/O");
      world.details = first;
    });
}
