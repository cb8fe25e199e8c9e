/**
 * Configuration as code: the plan that leads from the world to the desired state, and the one change that carries it out.
 */
import type { DesiredAlias, PlanStep, Refusal } from "@flagback/schemas";
import type { Command, CommandOf } from "./commands.ts";
import { joined, type Step } from "./joined.ts";
import { targetOf, type Unnamed, unnamed } from "./ownership.ts";
import { lockNeeded } from "./removal.ts";
import {
  type Change,
  type Circumstances,
  changed,
  emptyChange,
  refused,
  type Transition,
  type World,
  worldAfter,
} from "./world.ts";

interface Intent {
  readonly command: Command;
  readonly action: PlanStep["action"];
  readonly target: string;
  readonly note?: string;
  /** Why it can't be, where the command itself would not say so. */
  readonly refusal?: Refusal | undefined;
}

/** Applies a whole file as one change, or refuses it whole with every problem it found. */
export function apply(world: World, command: CommandOf<"apply">, at: Circumstances, step: Step): Transition {
  let after = world;
  const plan: PlanStep[] = [];
  const changes: Change[] = [];
  const refusals: Refusal[] = [];
  for (const intent of intentsOf(world, command)) {
    const result = intent.refusal ? refused(intent.refusal) : step(after, intent.command, at);
    const place = command.desired.places?.get(intent.target);
    if (result.kind === "refused") refusals.push(placed(result.refusal, place));
    else if (result.kind === "change" && changesTriggers(result.change) && !command.mayChangeTriggers) {
      refusals.push(placed(triggersNeedAdmin(intent.target), place));
    } else if (result.kind === "change") {
      plan.push({
        action: intent.action,
        target: intent.target,
        changes: differences(after, result.change),
        ...(intent.note === undefined ? {} : { note: intent.note }),
      });
      changes.push(result.change);
      after = worldAfter(after, result.change);
    }
  }
  const first = refusals[0];
  if (first) {
    return refused({
      code: first.code,
      message:
        refusals.length === 1 ? first.message : `The file has ${refusals.length} problems. First: ${first.message}`,
      hint: first.hint,
      problems: refusals.flatMap((refusal) => refusal.problems ?? [refusal.message]),
    });
  }
  if (changes.length === 0) {
    return { kind: "unchanged", action: "apply", summary: "Everything is so already.", plan };
  }
  const summary = changes.map((change) => change.summary).join(" ");
  return changed({ ...emptyChange("apply", "config", summary), ...joined(changes), plan });
}

/** The refusal with the place in the files that asked for what is refused. */
function placed(refusal: Refusal, place: string | undefined): Refusal {
  if (place === undefined) return refusal;
  const at = (text: string) => `${place}: ${text}`;
  return { ...refusal, message: at(refusal.message), problems: (refusal.problems ?? [refusal.message]).map(at) };
}

function intentsOf(world: World, command: CommandOf<"apply">): Intent[] {
  const { versions, aliases, killSwitches, flags, triggers, releases } = command.desired;
  const intents: Intent[] = [];
  for (const [key, failSafe] of killSwitches) {
    const action = world.killSwitches.has(key) ? "update" : "create";
    intents.push({ command: { kind: "putKillSwitch", key, failSafe }, action, target: `kill_switch:${key}` });
  }
  for (const alias of aliases) intents.push(...settingsIntents(world, alias));
  for (const version of versions) {
    // A version that the file only names stays as it is registered.
    if (!version.declared && world.versions.has(version.id)) continue;
    const { declared, ...draft } = version;
    intents.push({
      command: { kind: "registerVersion", version: draft },
      action: "register",
      target: `version:${version.id}`,
      ...(declared ? {} : { note: "not in the registry: registered with an empty payload" }),
    });
  }
  for (const alias of aliases) intents.push(...aliasIntents(world, alias));
  for (const [key, definition] of flags) {
    const action = world.flags.has(key) ? "update" : "create";
    intents.push({ command: { kind: "putFlag", key, definition }, action, target: `flag:${key}` });
  }
  for (const [id, definition] of triggers) {
    const action = world.triggers.has(id) ? "update" : "create";
    intents.push({ command: { kind: "putTrigger", id, definition }, action, target: `trigger:${id}` });
  }
  // Last, because they name versions that the same file may register.
  for (const [name, release] of releases) {
    const action = world.releases.has(name) ? "update" : "create";
    intents.push({ command: { kind: "putRelease", name, ...release }, action, target: `release:${name}` });
  }
  // Last, so that what the files change is not in use any more.
  if (command.prune)
    intents.push(...unnamed(world, command.desired, command.prune).map((each) => removal(world, each)));
  return intents;
}

function removal(world: World, found: Unnamed): Intent {
  const { block, key } = found;
  const target = targetOf(found);
  switch (block) {
    case "versions":
      return {
        command: { kind: "retireVersion", id: key, reason: "the configuration names it no longer" },
        action: "retire",
        target,
        note: "it gets no traffic any more; its record stays",
        refusal: lockNeeded(world, key),
      };
    case "aliases":
      return {
        command: { kind: "deleteAlias", name: key },
        action: "delete",
        target,
        note: "agents that still ask for it get their own default",
      };
    case "killSwitches":
      return {
        command: { kind: "deleteKillSwitch", key },
        action: "delete",
        target,
        note: "agents that still read it get their own default",
      };
    case "flags":
      return { command: { kind: "deleteFlag", key }, action: "delete", target };
    case "triggers":
      return { command: { kind: "deleteTrigger", id: key }, action: "delete", target };
  }
}

/** What a file says of an alias itself, before its versions: they are registered under the payload schema that it brings. */
function settingsIntents(world: World, { name, salt, policy, payloadSchema }: DesiredAlias): Intent[] {
  const isThere = world.aliases.has(name);
  if (isThere && salt === undefined && policy === undefined && payloadSchema === undefined) return [];
  const command = { kind: "putAlias", name, salt, policy, payloadSchema } as const;
  return [{ command, action: isThere ? "update" : "create", target: `alias:${name}` }];
}

/** Which of its versions serve. */
/** A trigger lends an operator's power to whoever has its token. */
function changesTriggers({ triggers, deleted }: Change): boolean {
  return triggers.length > 0 || deleted.some(({ kind }) => kind === "trigger");
}

function triggersNeedAdmin(target: string): Refusal {
  return {
    code: "forbidden",
    message: `The file changes ${target}, which needs an admin.`,
    hint: "Let an admin apply it, or leave the triggers out.",
  };
}

function aliasIntents(world: World, desired: DesiredAlias): Intent[] {
  const before = world.aliases.get(desired.name);
  const target = `alias:${desired.name}`;
  const intents: Intent[] = [];
  const { name } = desired;
  if (desired.stable !== undefined && before?.stable !== desired.stable) {
    intents.push({
      command: {
        kind: "declareStable",
        alias: name,
        version: desired.stable,
        reason: "declared by the configuration file",
      },
      action: "declare_stable",
      target,
      note: `${desired.stable} serves 100 % from now on and is what a rollback returns to`,
    });
  }
  if (desired.allocation) {
    intents.push({ command: { kind: "putAlias", name, allocation: desired.allocation }, action: "update", target });
  } else if (desired.candidates.length > 0) {
    intents.push({
      command: { kind: "addCandidates", alias: name, versions: desired.candidates },
      action: "update",
      target,
    });
  }
  return intents;
}

/** What a change does to the documents, field by field, for people to read. */
function differences(world: World, change: Change): PlanStep["changes"] {
  const pairs = [
    ...change.versions.map((version) => [world.versions.get(version.id), version] as const),
    ...change.aliases.map((alias) => [world.aliases.get(alias.name), alias] as const),
    ...change.killSwitches.map((killSwitch) => [world.killSwitches.get(killSwitch.key), killSwitch] as const),
    ...change.flags.map((flag) => [world.flags.get(flag.key), flag] as const),
    ...change.triggers.map((trigger) => [world.triggers.get(trigger.id), trigger] as const),
    ...change.releases.map((release) => [world.releases.get(release.name), release] as const),
  ];
  const ignored = new Set(["revision", "edit", "createdAt", "createdBy", "retiredAt", "rolloutNumber"]);
  return pairs.flatMap(([before, after]) =>
    Object.entries(after)
      .filter(([path]) => !ignored.has(path))
      .map(([path, to]) => ({
        path,
        from: (before as Record<string, unknown> | undefined)?.[path] ?? null,
        to: to as unknown,
      }))
      .filter(({ from, to }) => JSON.stringify(from) !== JSON.stringify(to) && !(from === null && isEmpty(to))),
  );
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === "" || value === undefined) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
