/** Steps about hooks: which stages ran, in which order, with which details. */
import type { Registry } from "../registry.ts";
import { same } from "../same.ts";
import { flagType, parseValue } from "../values.ts";
import { recordingHook, type SpecWorld } from "../world.ts";

export function hookSteps(steps: Registry<SpecWorld>): void {
  steps
    .define(/a client with added hook/, (world) => {
      world.client.addHooks(recordingHook("client's", world.hookCalls));
    })
    .define(/the "(\w+)" hook should have been executed/, (world, [stage]) => {
      same(`runs of the ${stage} stage`, world.hookCalls.filter((call) => call.stage === stage).length, 1);
    })
    .define(/the "(.*)" hooks should be called with evaluation details/, (world, [stages = ""], [header, ...rows]) => {
      same("the table's header", header, ["data_type", "key", "value"]);
      for (const stage of stages.split(", ")) {
        const calls = world.hookCalls.filter((call) => call.stage === stage);
        same(`runs of the ${stage} stage`, calls.length, 1);
        for (const [type = "", key = "", text = ""] of rows) {
          const expected = text === "null" ? undefined : parseValue(flagType(type), text);
          same(`${key} in the ${stage} stage`, calls[0]?.details?.[fieldOf(key)], expected);
        }
      }
    })
    .define(/evaluation options containing specific hooks/, (world) => {
      world.optionHooks.push(recordingHook("first", world.hookCalls), recordingHook("second", world.hookCalls));
    })
    .define(/the specified hooks should execute during evaluation/, (world) => {
      for (const hook of ["first", "second"]) {
        const stages = world.hookCalls.filter((call) => call.hook === hook).map((call) => call.stage);
        same(`the stages of the ${hook} hook`, stages, ["before", "after", "finally"]);
      }
    })
    .define(/the hook order should be maintained/, (world) => {
      // Before in the order given, the stages after the evaluation in reverse (specification 4.4.2).
      const order = world.hookCalls.map((call) => `${call.hook} ${call.stage}`);
      const after = ["second after", "first after", "second finally", "first finally"];
      same("the order of the hooks", order, ["first before", "second before", ...after]);
    });
}

function fieldOf(key: string): string {
  return key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
