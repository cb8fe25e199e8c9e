/**
 * A coordinated rollback: what shipped together goes back together, in one change or not at all. Each alias keeps its own
 * decision, incident, lock and audit row, because each recovers by itself; one id links them (docs/decisions/0014).
 */
import type { CoordinatedRollback, Refusal } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import type { CommandOf } from "./commands.ts";
import { joined, type Step } from "./joined.ts";
import { aliasNotFound } from "./refusals.ts";
import { releaseNotFound } from "./releases.ts";
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

type Outcome = CoordinatedRollback["aliases"][number];

const ACTION = "rollback";

export function rollbackTogether(
  world: World,
  command: CommandOf<"rollbackTogether">,
  at: Circumstances,
  step: Step,
): Transition {
  const parts = partsOf(world, command);
  if ("code" in parts) return refused(parts);
  let after = world;
  const changes: Change[] = [];
  const outcomes: Outcome[] = [];
  const refusals: Refusal[] = [];
  for (const { alias, version } of parts) {
    const elsewhere = version === undefined ? undefined : servesElsewhere(world, alias, version);
    if (elsewhere === "not_served") {
      outcomes.push({ alias, status: "not_served" });
      continue;
    }
    const result = elsewhere
      ? refused(elsewhere)
      : step(after, { kind: "rollback", alias, reason: command.reason }, at);
    if (result.kind === "refused") refusals.push(result.refusal);
    else if (result.kind === "already_rolled_back") {
      const { decisionId, incident } = result;
      outcomes.push({ alias, status: "already_rolled_back", decisionId, incident });
    } else if (result.kind === "change") {
      const [stop] = result.change.stops;
      outcomes.push({ alias, status: "done", decisionId: stop?.decision.id, incident: stop?.incident.id });
      changes.push(result.change);
      after = worldAfter(after, result.change);
    }
  }
  return concluded(command, outcomes, changes, refusals, at);
}

function concluded(
  command: CommandOf<"rollbackTogether">,
  outcomes: readonly Outcome[],
  changes: readonly Change[],
  refusals: readonly Refusal[],
  at: Circumstances,
): Transition {
  const what = command.release ?? outcomes.map(({ alias }) => alias).join(", ");
  const [first] = refusals;
  if (first) {
    return refused({
      ...first,
      message: `Nothing was rolled back, because not all can be: ${refusals.map(({ message }) => message).join(" ")}`,
      hint: `Name the aliases that can go: flagback rollback ALIAS ALIAS --reason "...". ${first.hint}`,
      problems: refusals.map(({ message }) => message),
    });
  }
  const decided = outcomes.flatMap(({ decisionId }) => decisionId ?? []);
  const coordinated = { id: `rb_${at.digestOf(decided.toSorted()).slice(0, 12)}`, aliases: [...outcomes] };
  const before = outcomes.find(({ status }) => status === "already_rolled_back");
  if (changes.length === 0 && before?.decisionId !== undefined && before.incident !== undefined) {
    const { decisionId, incident } = before;
    const summary = `${what} was rolled back already.`;
    return { kind: "already_rolled_back", action: ACTION, summary, decisionId, incident, coordinated };
  }
  if (changes.length === 0) {
    return { kind: "unchanged", action: ACTION, summary: `No version of ${what} serves anything.` };
  }
  const whole = joined(changes);
  const link = { id: coordinated.id, incidents: whole.stops.map(({ incident }) => incident.id) };
  const stops = whole.stops.map((stop) => ({ ...stop, incident: { ...stop.incident, coordinated: link } }));
  const rows = changes.map(({ action, target, summary, audit }) => ({
    action,
    target,
    summary,
    audit: { ...audit, coordinationId: coordinated.id },
  }));
  const summary = `Rolled back ${what} together: ${rows.map((row) => row.summary).join("; ")}.`;
  return changed({ ...emptyChange(ACTION, targetOf(command), summary), ...whole, stops, rows, coordinated });
}

function targetOf({ release }: CommandOf<"rollbackTogether">): string {
  return release === undefined ? "alias:several" : `release:${release}`;
}

/** The aliases that are meant, each with the version of the release. */
function partsOf(
  world: World,
  { aliases = [], release }: CommandOf<"rollbackTogether">,
): readonly { readonly alias: string; readonly version?: string }[] | Refusal {
  if (release === undefined) return [...new Set(aliases)].map((alias) => ({ alias }));
  const found = world.releases.get(release);
  if (!found) return releaseNotFound(world, release);
  return Object.entries(found.versions).map(([alias, version]) => ({ alias, version }));
}

/**
 * Where the alias's last rollout is not of the release's version: `not_served`, or why a rollback would not take it away.
 * Another version's rollout is none of the release's business.
 */
function servesElsewhere(world: World, name: string, version: string): "not_served" | Refusal | undefined {
  const alias = world.aliases.get(name);
  if (!alias) return aliasNotFound(world, name);
  const { rollout } = alias;
  const serves = alias.stable === version || weightOf(alias.allocation, version) > 0;
  // After its rollback it may have been given weight by hand.
  const isOver = rollout !== null && !["exposing", "paused", "promoted"].includes(rollout.state);
  if (rollout?.candidate === version && !(isOver && serves)) return undefined;
  if (!serves) return "not_served";
  return {
    code: "rollout_not_active",
    message: `${version} serves on ${name}, but not by a rollout that could be rolled back.`,
    hint: `To stop its writes, use flagback kill engage writes_disabled --scope agent=${name}.`,
  };
}
