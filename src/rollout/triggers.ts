/**
 * Triggers: what a monitoring system outside may do, by firing them.
 */
import type { Refusal, Trigger, TriggerAction } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { aliasNotFound, killSwitchNotFound } from "./refusals.ts";
import { changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Triggers that there may be at once. */
const MAX_TRIGGERS = 256;

export function putTrigger(world: World, command: CommandOf<"putTrigger">): Transition {
  const { id, definition } = command;
  const missing = missingFor(world, definition.action);
  if (missing) return refused(missing);
  const before = world.triggers.get(id);
  if (!before && world.triggers.size >= MAX_TRIGGERS) {
    return refused({
      code: "bad_request",
      message: `There are ${MAX_TRIGGERS} triggers, which is the limit.`,
      hint: "Remove one that nobody fires: flagback trigger list.",
    });
  }
  const trigger: Trigger = { id, ...definition, edit: before?.edit ?? 0 };
  if (before && JSON.stringify(before) === JSON.stringify(trigger)) {
    return { kind: "unchanged", action: "trigger.put", summary: `${id} is so already.` };
  }
  const summary = `${before ? "Changed" : "Created"} the trigger ${id}: it ${deedOf(definition.action)}.`;
  return changed({
    ...emptyChange(before ? "trigger.update" : "trigger.create", `trigger:${id}`, summary),
    triggers: [trigger],
  });
}

export function deleteTrigger(world: World, { id }: CommandOf<"deleteTrigger">): Transition {
  if (!world.triggers.has(id)) return refused(triggerNotFound(id));
  return changed({
    ...emptyChange("trigger.delete", `trigger:${id}`, `Removed the trigger ${id}.`),
    deleted: [{ kind: "trigger", key: id }],
  });
}

export function triggerNotFound(id: string): Refusal {
  return {
    code: "trigger_not_found",
    message: `There is no trigger ${id}.`,
    hint: "List them with flagback trigger list.",
  };
}

function missingFor(world: World, action: TriggerAction): Refusal | undefined {
  if (action.kind === "engage")
    return world.killSwitches.has(action.key) ? undefined : killSwitchNotFound(world, action.key);
  return world.aliases.has(action.alias) ? undefined : aliasNotFound(world, action.alias);
}

function deedOf(action: TriggerAction): string {
  switch (action.kind) {
    case "rollback":
      return `rolls ${action.alias} back`;
    case "engage":
      return `engages ${action.key} for ${action.scope}`;
    case "pause":
      return `pauses the rollout of ${action.alias}`;
  }
}
