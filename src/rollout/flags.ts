/**
 * Any other flag, kept in flagd's format.
 */
import { keyTaken, nameReserved } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function putFlag(world: World, command: CommandOf<"putFlag">): Transition {
  const { key, definition } = command;
  const taken = keyTaken(world, key, "flag") ?? nameReserved(key);
  if (taken) return refused(taken);
  const variants = Object.keys(definition.variants);
  if (definition.defaultVariant != null && !variants.includes(definition.defaultVariant)) {
    return refused({
      code: "flag_invalid",
      message: `${key} has no variant ${definition.defaultVariant}, which is its defaultVariant.`,
      hint: `Its variants are ${variants.join(", ")}.`,
    });
  }
  const before = world.flags.get(key);
  if (before && JSON.stringify(before.definition) === JSON.stringify(definition)) {
    return { kind: "unchanged", action: "flag.put", summary: `${key} is so already.` };
  }
  const action = before ? "flag.update" : "flag.create";
  return changed({
    ...emptyChange(action, `flag:${key}`, `${before ? "Changed" : "Created"} flag ${key}.`),
    flags: [{ key, definition, revision: before?.revision ?? 0, edit: before?.edit ?? 0 }],
  });
}

export function deleteFlag(world: World, command: CommandOf<"deleteFlag">): Transition {
  if (!world.flags.has(command.key)) {
    return refused({
      code: "flag_not_found",
      message: `There is no flag ${command.key}.`,
      hint: "List them with flagback get flags.",
    });
  }
  return changed({
    ...emptyChange("flag.delete", `flag:${command.key}`, `Deleted flag ${command.key}.`),
    deleted: [{ kind: "flag", key: command.key }],
  });
}
