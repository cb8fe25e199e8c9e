/**
 * Aliases: creation, settings, and the declaration of the first stable version.
 */
import {
  type Alias,
  DRILL_PREFIX,
  durationMs,
  isDrillName,
  Policy,
  type Refusal,
  type Slot,
  type Stage,
  TOTAL_WEIGHT,
} from "@flagback/schemas";
import { weightOf, weightsOf, wholeAllocation, withWeights } from "../allocation/index.ts";
import { compileGuardrails } from "../brain/index.ts";
import type { CommandOf } from "./commands.ts";
import { withFinishing } from "./finishing.ts";
import { payloadRefusal, schemaRefusal } from "./payload-schema.ts";
import { aliasNotFound, versionLocked, versionNotFound, versionRetired } from "./refusals.ts";
import { isUnderWay, policyInForce } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Creates an alias or changes its settings. The policy of a rollout under way stays as it was frozen. */
export function putAlias(world: World, command: CommandOf<"putAlias">, at: Circumstances): Transition {
  const { name } = command;
  const before = world.aliases.get(name);
  const taken = keyTaken(world, name, "alias") ?? (before ? undefined : nameReserved(name));
  if (taken) return refused(taken);
  if (command.policy) {
    const problem = policyProblem(world, command.policy);
    if (problem) return refused(problem);
  }
  let alias: Alias = {
    ...(before ?? bareAlias(name, { rolloutNumber: world.lastRolloutNumbers?.get(name) ?? 0 })),
    ...(command.salt === undefined ? {} : { salt: command.salt }),
    ...(command.policy === undefined || isSamePolicy(before?.policy, command.policy) ? {} : { policy: command.policy }),
  };
  const { payloadSchema } = command;
  // Equal by content, because setting it anew would put it elsewhere among the keys.
  if (payloadSchema !== undefined && JSON.stringify(payloadSchema) !== JSON.stringify(alias.payloadSchema ?? null)) {
    const { payloadSchema: _before, ...without } = alias;
    alias = payloadSchema === null ? without : { ...without, payloadSchema };
    const problem = schemaRefusal(world, alias, at);
    if (problem) return refused(problem);
  }
  if (before && command.salt !== undefined && command.salt !== before.salt && isUnderWay(before)) {
    return refused(rolloutInProgress(before, "changing the salt would reshuffle its traffic"));
  }
  if (command.allocation) {
    const allocated = allocate(world, alias, command.allocation, at);
    if ("code" in allocated) return refused(allocated);
    const { stable } = alias;
    const withdrawn = [...weightsOf(alias.allocation).keys()].filter(
      (version) => version !== stable && weightOf(allocated.allocation, version) === 0,
    );
    const named = [...alias.candidates, ...command.allocation.map((slot) => slot.version)];
    alias = {
      ...withFinishing(alias, policyInForce(alias), withdrawn, at.now),
      allocation: allocated.allocation,
      candidates: [...new Set(named)].filter((version) => version !== stable),
    };
  }
  if (before && JSON.stringify(before) === JSON.stringify(alias)) {
    return { kind: "unchanged", action: "alias.put", summary: `${name} is so already.` };
  }
  const action = before ? "alias.update" : "alias.create";
  return changed({
    ...emptyChange(action, `alias:${name}`, `${before ? "Changed" : "Created"} alias ${name}.`),
    aliases: [alias],
  });
}

/** Notes registered versions as candidates, without weight. */
export function addCandidates(world: World, command: CommandOf<"addCandidates">): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const missing = command.versions.map((version) => missingVersion(world, alias, version)).find((refusal) => refusal);
  if (missing) return refused(missing);
  const added = command.versions.filter((version) => version !== alias.stable && !alias.candidates.includes(version));
  const action = "alias.update";
  if (added.length === 0) return { kind: "unchanged", action, summary: `${alias.name} has these candidates already.` };
  return changed({
    ...emptyChange(action, `alias:${alias.name}`, `Noted ${added.join(", ")} as candidate of ${alias.name}.`),
    aliases: [{ ...alias, candidates: [...alias.candidates, ...added] }],
  });
}

/** Declares the stable version of an alias that has none. Later ones become stable by a rollout. */
export function declareStable(world: World, command: CommandOf<"declareStable">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  if (alias.stable === command.version) {
    return { kind: "unchanged", action: "alias.declare_stable", summary: `${command.version} is stable already.` };
  }
  if (alias.stable !== null) {
    return refused({
      code: "already_exists",
      message: `${alias.name} has a stable version, ${alias.stable}.`,
      hint: `Bring ${command.version} to 100 % by a rollout: flagback rollout start ${alias.name} --candidate ${command.version}.`,
    });
  }
  const unusable = unusableVersion(world, alias, command.version, at);
  if (unusable) return refused(unusable);
  return changed({
    ...emptyChange(
      "alias.declare_stable",
      `alias:${alias.name}`,
      `Declared ${command.version} the stable version of ${alias.name}.`,
    ),
    aliases: [
      {
        ...alias,
        stable: command.version,
        allocation: wholeAllocation(command.version),
        candidates: alias.candidates.filter((candidate) => candidate !== command.version),
      },
    ],
    audit: { reason: command.reason, toVersion: command.version },
  });
}

/** Why a version can't get weight on the alias, if it can't. */
function unusableVersion(world: World, alias: Alias, id: string, at: Circumstances): Refusal | undefined {
  const version = world.versions.get(id);
  if (!version || version.alias !== alias.name) return versionNotFound(world, id, alias.name);
  if (version.retiredAt) return versionRetired(id);
  const lock = alias.locks.find((each) => each.digest === version.digest);
  return lock ? versionLocked(id, alias.name, lock.reason) : payloadRefusal(alias, version, at.payloads);
}

/** Whether they say the same, also where the one was stored before a part with a default came to be. */
function isSamePolicy(stored: Policy | null | undefined, given: Policy | null): boolean {
  return stored != null && given !== null && JSON.stringify(Policy.parse(stored)) === JSON.stringify(given);
}

/** Why a policy can't be judged, if it can't. */
export function policyProblem(world: World, policy: NonNullable<Alias["policy"]>): Refusal | undefined {
  const compiled = compileGuardrails(policy);
  if (!compiled.ok) return compiled.refusal;
  const unknown = policy.onBreach.engage.filter((key) => !world.killSwitches.has(key));
  const problems = [
    ...notCarriedOut(policy),
    ...unknown.map((key) => `onBreach.engage: there is no kill switch ${key}`),
    ...stageProblems("stages", policy.stages, policy.advance),
    ...(policy.fastTrack ? stageProblems("fastTrack.stages", policy.fastTrack.stages, policy.advance) : []),
  ];
  if (problems.length === 0) return undefined;
  return {
    code: "policy_invalid",
    message: `The policy can't be used: ${problems.join("; ")}.`,
    hint: "Correct the policy; docs/errors.md describes each part.",
    problems,
  };
}

function stageProblems(path: string, stages: readonly Stage[], advance: Policy["advance"]): string[] {
  const percents = stages.map((stage) => stage.percent);
  const names = new Set(stages.map((stage) => stage.name));
  return [
    ...(percents.some((percent, index) => index > 0 && percent <= (percents[index - 1] as number))
      ? [`${path}: percents must grow from stage to stage, not ${percents.join(", ")}`]
      : []),
    ...(advance === "auto" ? unsoaked(stages) : []).map(
      (name) => `${path}: ${name} needs a soak above zero, because advance: auto goes on by itself`,
    ),
    ...(names.size < percents.length ? [`${path}: two stages have the same name`] : []),
  ];
}

/**
 * Stages that `advance: auto` would leave as soon as it enters them, on the evidence of the ones before. The last one may: what
 * follows is the promotion, which gives nobody another version and can be rolled back.
 */
function unsoaked(stages: readonly Stage[]): string[] {
  return stages
    .slice(0, -1)
    .filter(({ soak }) => durationMs(soak) === 0)
    .map(({ name }) => name);
}

/** Parts that the schema knows and nothing acts on: better refused than ignored. */
function notCarriedOut({ stickiness, onWithdraw }: NonNullable<Alias["policy"]>): string[] {
  return [
    ...(onWithdraw === "finish" && stickiness === "run"
      ? ["onWithdraw: finish says nothing without stickiness: conversation"]
      : []),
  ];
}

/** Whether another kind of document uses the key. Keys are unique, because each is an OpenFeature flag key. */
export function keyTaken(world: World, key: string, kind: "alias" | "kill switch" | "flag"): Refusal | undefined {
  const owners = [
    ["alias", world.aliases],
    ["kill switch", world.killSwitches],
    ["flag", world.flags],
  ] as const;
  const owner = owners.find(([name, documents]) => name !== kind && documents.has(key))?.[0];
  return (
    owner && {
      code: "already_exists",
      message: `${key} is the key of a ${owner} already.`,
      hint: "Agents resolve aliases, kill switches and flags by one key; choose another name.",
    }
  );
}

/** Whether a name is for drills to give. */
export function nameReserved(name: string): Refusal | undefined {
  return isDrillName(name)
    ? {
        code: "bad_request",
        message: `${name} begins with ${DRILL_PREFIX}, which is for drills alone.`,
        hint: "Choose another name; flagback drill ALIAS makes and hides what it needs.",
      }
    : undefined;
}

/** A new allocation, or why the weights can't be had. */
export function reallocate(alias: Alias, allocate: () => Slot[]): { readonly allocation: Slot[] } | Refusal {
  try {
    return { allocation: allocate() };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return {
      code: "bad_request",
      message: `The weights of ${alias.name} can't be set: ${error.message}.`,
      hint: "Take weight from other versions first; what they give goes back to stable.",
    };
  }
}

function rolloutInProgress(alias: Alias, because: string): Refusal {
  const rollout = alias.rollout;
  return {
    code: "rollout_in_progress",
    message: `A rollout of ${rollout?.candidate} is under way on ${alias.name} (${rollout?.state}, stage ${rollout?.stage}); ${because}.`,
    hint: `Wait for it to end, or end it with flagback rollback ${alias.name} --reason "...".`,
  };
}

function allocate(
  world: World,
  alias: Alias,
  wanted: readonly Slot[],
  at: Circumstances,
): { allocation: Slot[] } | Refusal {
  const sum = wanted.reduce((total, slot) => total + slot.weight, 0);
  if (sum !== TOTAL_WEIGHT) {
    return {
      code: "weights_do_not_sum",
      message: `The weights of ${alias.name} sum to ${sum / 1_000} %, not 100 %.`,
      hint: "Give weights in thousandths of a percent that sum to 100 000; stable takes what is left.",
    };
  }
  if (alias.stable === null) {
    return {
      code: "no_stable_version",
      message: `${alias.name} has no stable version to take weight from.`,
      hint: `Declare one first: POST /v1/aliases/${alias.name}/declare-stable.`,
    };
  }
  const weights = new Map<string, number>();
  for (const slot of wanted) weights.set(slot.version, (weights.get(slot.version) ?? 0) + slot.weight);
  for (const [version, weight] of weights) {
    if (weight === weightOf(alias.allocation, version)) continue;
    if (isUnderWay(alias)) return rolloutInProgress(alias, "its stages set the weights");
    const unusable = weight > 0 ? unusableVersion(world, alias, version, at) : missingVersion(world, alias, version);
    if (unusable) return unusable;
  }
  const { stable } = alias;
  return reallocate(alias, () => withWeights(alias.allocation, stable, weights));
}

function missingVersion(world: World, alias: Alias, id: string): Refusal | undefined {
  return world.versions.get(id)?.alias === alias.name ? undefined : versionNotFound(world, id, alias.name);
}

/** An alias that serves nothing; its numbers go on from what it had. */
export function bareAlias(
  name: string,
  { rolloutNumber = 0, revision = 0, edit = 0 }: Partial<Pick<Alias, "rolloutNumber" | "revision" | "edit">> = {},
): Alias {
  return {
    name,
    salt: name,
    allocation: [],
    stable: null,
    candidates: [],
    policy: null,
    locks: [],
    rollout: null,
    rolloutNumber,
    revision,
    edit,
  };
}
