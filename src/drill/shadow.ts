/**
 * The shadow of an alias: what a drill breaks in its place. It stays in the database between drills, empty and hidden, so that
 * its rollouts are numbered on and their counts are dropped like any other's.
 */
import {
  type Alias,
  DEFAULT_KILL_SWITCH,
  DRILL_PREFIX,
  isDrillName,
  type KillSwitch,
  MAX_NAME_LENGTH,
  MAX_VERSION_ID_LENGTH,
  type Policy,
  type Refusal,
  type Version,
} from "@flagback/schemas";
import { wholeAllocation } from "../allocation/index.ts";
import { bareAlias, keyTaken, policyProblem } from "../rollout/aliases.ts";
import { closeAsked } from "../rollout/asked.ts";
import type { CommandOf } from "../rollout/commands.ts";
import { isUnsettled, withTimeline } from "../rollout/incidents.ts";
import { aliasNotFound, versionNotFound, versionRetired } from "../rollout/refusals.ts";
import { isUnderWay } from "../rollout/under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "../rollout/world.ts";
import { drillPolicy } from "./drill-policy.ts";

export function shadowOf(name: string): string {
  return `${DRILL_PREFIX}${name}`;
}

/** The kill switch that stands in for one of the alias's while it is drilled, so that a drill stops nobody's writes. */
function shadowSwitchOf(alias: string, key: string): string {
  return `${shadowOf(alias)}.${key}`;
}

/** The candidate's payload under another id. */
export function twinOf(shadowCandidate: string): string {
  return `${shadowCandidate}+twin`;
}

/** The two versions that a drill of the alias would be about. */
export interface DrillPair {
  readonly alias: Alias;
  readonly policy: Policy;
  readonly target: Version;
  readonly candidate: Version;
  /** True where the alias has no second version: the candidate stands in for one. */
  readonly isStandIn: boolean;
}

/**
 * The candidate that is named, or under rollout, or the only one; else the stable version with the one before it as the target;
 * else a stand-in, because a rollback can be rehearsed with one version as well.
 */
export function drillPairOf(world: World, name: string, wanted: string | undefined): DrillPair | Refusal {
  const alias = world.aliases.get(name);
  if (!alias || isDrillName(name)) return aliasNotFound(world, name);
  const { stable, policy } = alias;
  const target = stable === null ? undefined : world.versions.get(stable);
  const problem = policy === null ? undefined : policyProblem(world, policy);
  const missing = [
    ...(stable === null ? ["no stable version is declared"] : []),
    ...(stable !== null && !target ? [`the stable version ${stable} is not registered`] : []),
    ...(target?.retiredAt ? [`the stable version ${stable} is retired`] : []),
    ...(policy === null ? ["the alias has no policy with a guardrail"] : []),
    ...(problem ? (problem.problems ?? [problem.message]) : []),
  ];
  if (missing.length > 0 || !target || policy === null) {
    return {
      code: "rollback_plan_missing",
      message: `There is no rollback of ${name} to rehearse: ${missing.join("; ")}.`,
      hint: "A drill needs what a rollout needs: a stable version and a policy with at least one guardrail.",
      problems: missing,
    };
  }
  const chosen = wanted ?? (isUnderWay(alias) ? alias.rollout?.candidate : undefined) ?? onlyOf(alias.candidates);
  if (chosen !== undefined) {
    const candidate = world.versions.get(chosen);
    if (!candidate || candidate.alias !== name) return versionNotFound(world, chosen, name);
    if (candidate.retiredAt) return versionRetired(chosen);
    if (candidate.digest === target.digest) return sameAsStable(chosen, target.id);
    return { alias, policy, target, candidate, isStandIn: false };
  }
  const previous = alias.previousStable && world.versions.get(alias.previousStable.version);
  if (previous && !previous.retiredAt && previous.digest !== target.digest) {
    return { alias, policy, target: previous, candidate: target, isStandIn: false };
  }
  const id = `${name}@stand-in`;
  const candidate = { ...target, id, payload: {}, notes: "Stands in for a candidate in drills." };
  return { alias, policy, target, candidate, isStandIn: true };
}

/** Fills the shadow with the alias's own versions and policy. Whatever an earlier drill left in it goes. */
export function openDrill(world: World, command: CommandOf<"openDrill">, at: Circumstances): Transition {
  const pair = drillPairOf(world, command.alias, command.candidate);
  if ("code" in pair) return refused(pair);
  const { alias, target, isStandIn } = pair;
  const candidate = isStandIn ? { ...pair.candidate, digest: at.digestOf({ id: pair.candidate.id }) } : pair.candidate;
  const shadow = shadowOf(alias.name);
  const switches = switchesOf(alias.name, pair.policy);
  const unusable = unusableNames(world, shadow, [target.id, candidate.id], [...switches.values()]);
  if (unusable) return refused(unusable);

  const { policy } = drillPolicy(pair.policy, command.faults, (key) => shadowSwitchOf(alias.name, key));
  const before = world.aliases.get(shadow);
  // Copied anew each time: what is wrong with the alias's own versions must show.
  const inShadow = (version: Version, id: string): Version => ({ ...version, id, alias: shadow });
  const versions = [
    inShadow(target, `${DRILL_PREFIX}${target.id}`),
    inShadow(candidate, `${DRILL_PREFIX}${candidate.id}`),
    inShadow(candidate, twinOf(`${DRILL_PREFIX}${candidate.id}`)),
  ];
  const stable = versions[0]?.id ?? "";
  const killSwitches = [...switches].map(([key, shadowKey]): KillSwitch => {
    const failSafe = world.killSwitches.get(key)?.failSafe ?? { engage: true, afterMs: 0 };
    const found = world.killSwitches.get(shadowKey);
    return { key: shadowKey, engaged: [], failSafe, revision: found?.revision ?? 0, edit: found?.edit ?? 0 };
  });
  return changed({
    ...emptyChange(
      "drill.open",
      `alias:${alias.name}`,
      `Began to rehearse a rollback of ${candidate.id} to ${target.id} on ${shadow} (${command.faults.join(", ")}).`,
    ),
    versions,
    aliases: [
      {
        ...bareAlias(shadow, before),
        stable,
        allocation: wholeAllocation(stable),
        candidates: [`${DRILL_PREFIX}${candidate.id}`],
        policy,
      },
    ],
    killSwitches,
    incidents: closedIncidents(world, shadow, at),
    audit: { fromVersion: candidate.id, toVersion: target.id },
  });
}

/** Empties the shadow: no version, no policy, no lock, nothing engaged, no incident open. */
export function closeDrill(world: World, command: CommandOf<"closeDrill">, at: Circumstances): Transition {
  const shadow = world.aliases.get(shadowOf(command.alias));
  const action = `drill.${command.state}`;
  if (!shadow) return { kind: "unchanged", action, summary: `${command.alias} has had no drill.` };
  const switches = [...world.killSwitches.values()].filter(({ key }) => key.startsWith(`${shadow.name}.`));
  const closed = closedIncidents(world, shadow.name, at);
  return changed({
    ...emptyChange(action, `alias:${command.alias}`, command.summary),
    aliases: [bareAlias(shadow.name, shadow)],
    killSwitches: switches.filter(({ engaged }) => engaged.length > 0).map((each) => ({ ...each, engaged: [] })),
    incidents: closed,
    asked: shadow.rollout
      ? closeAsked(world, shadow.rollout, { state: "superseded", because: command.summary }, at)
      : [],
    // Whoever was told of its rollback hears that it is over.
    alerts: closed.map(({ id }) => ({ kind: "closed", text: command.summary, alias: shadow.name, incident: id })),
    audit: { reason: command.summary },
  });
}

/** Aliases whose shadow is filled: a drill is under way, or was when the server went down. */
export function aliasesUnderDrill(world: World): string[] {
  return [...world.aliases.values()].flatMap(({ name, stable }) =>
    isDrillName(name) && stable !== null ? [name.slice(DRILL_PREFIX.length)] : [],
  );
}

/** The alias's kill switches, each with its stand-in; always with the default one, which runtimes ask before a write. */
export function switchesOf(alias: string, policy: Policy): ReadonlyMap<string, string> {
  const keys = new Set([...policy.onBreach.engage, DEFAULT_KILL_SWITCH]);
  return new Map([...keys].map((key) => [key, shadowSwitchOf(alias, key)]));
}

function closedIncidents(world: World, shadow: string, at: Circumstances) {
  return [...world.incidents.values()]
    .filter((incident) => incident.alias === shadow && isUnsettled(incident))
    .map((incident) =>
      withTimeline({ ...incident, state: "closed" as const, settledAt: at.now }, at, "The drill is over."),
    );
}

function unusableNames(
  world: World,
  shadow: string,
  versions: readonly string[],
  switches: readonly string[],
): Refusal | undefined {
  const long = [shadow, ...switches].find((name) => name.length > MAX_NAME_LENGTH);
  const longId = versions.find((id) => twinOf(`${DRILL_PREFIX}${id}`).length > MAX_VERSION_ID_LENGTH);
  if (long !== undefined || longId !== undefined) {
    return {
      code: "bad_request",
      message: `A drill of it would need a name that is too long: ${long ?? twinOf(`${DRILL_PREFIX}${longId}`)}.`,
      hint: `Names have at most ${MAX_NAME_LENGTH} characters and version ids ${MAX_VERSION_ID_LENGTH}, with what a drill adds.`,
    };
  }
  return keyTaken(world, shadow, "alias") ?? switches.map((key) => keyTaken(world, key, "kill switch")).find(Boolean);
}

function onlyOf(candidates: readonly string[]): string | undefined {
  return candidates.length === 1 ? candidates[0] : undefined;
}

function sameAsStable(candidate: string, stable: string): Refusal {
  return {
    code: "candidate_equals_stable",
    message: `${candidate} has the same payload as the stable version ${stable}, so there is nothing to roll back from.`,
    hint: "Name another candidate, or leave it out.",
  };
}
