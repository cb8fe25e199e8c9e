/**
 * An incident's way from the rollback that opened it to its recovery, and what people add to it (DESIGN 7).
 */
import { type Incident, type KillSwitch, MAX_INCIDENT_NOTES, type Refusal, type RolloutState } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import {
  type Alert,
  type Change,
  type Circumstances,
  changed,
  emptyChange,
  refused,
  type Transition,
  type World,
} from "./world.ts";

/** Every runtime serves what the rollback says: what is left is the proof that stable is healthy. */
export function convergeIncident(world: World, command: CommandOf<"convergeIncident">, at: Circumstances): Transition {
  const incident = world.incidents.get(command.incident);
  if (!incident) return refused(incidentNotFound(command.incident));
  const action = "incident.converge";
  if (incident.convergeMs !== undefined)
    return { kind: "unchanged", action, summary: `${incident.id} has converged already.` };
  const text = `Every runtime follows the rollback of ${incident.candidate}.`;
  return changed({
    ...changeOf(action, { ...incident, convergeMs: command.convergeMs }, at, text),
    aliases: rolloutSettled(world, incident, "recovering", ["rolled_back"]),
  });
}

/** Concludes the verification. A recovery releases exactly what this incident engaged. */
export function settleIncident(world: World, command: CommandOf<"settleIncident">, at: Circumstances): Transition {
  const incident = world.incidents.get(command.incident);
  if (!incident) return refused(incidentNotFound(command.incident));
  const action = `incident.${command.as}`;
  if (!isVerifying(incident) || incident.state === command.as)
    return { kind: "unchanged", action, summary: `${incident.id} is ${incident.state} already.` };
  const isRecovered = command.as === "recovered";
  const settled: Incident = {
    ...incident,
    state: command.as,
    settledAt: at.now,
    recovery: command.recovery,
    ...(isRecovered ? { recoverMs: Date.parse(at.now) - Date.parse(incident.openedAt) } : {}),
  };
  const text = settledText(incident, command);
  const released = isRecovered ? withoutEntriesOf(world, incident) : [];
  return changed({
    ...changeOf(action, settled, at, text),
    aliases: rolloutSettled(world, incident, command.as),
    killSwitches: released,
    alerts: [alertOf(command.as, incident, text)],
  });
}

/** Releases what the incident engaged on a person's word. What others hold stays engaged. */
export function releaseIncident(world: World, command: CommandOf<"releaseIncident">, at: Circumstances): Transition {
  const incident = world.incidents.get(command.incident);
  if (!incident) return refused(incidentNotFound(command.incident));
  const action = "incident.release";
  const released = withoutEntriesOf(world, incident);
  if (released.length === 0 && !isUnsettled(incident)) {
    return { kind: "unchanged", action, summary: `${incident.id} is ${incident.state} and holds nothing engaged.` };
  }
  const keys =
    released.map((killSwitch) => killSwitch.key).join(", ") || "nothing, because nothing was engaged any more";
  const text = `Released without proof of recovery: ${keys}.`;
  const closed: Incident = isUnsettled(incident) ? { ...incident, state: "closed", settledAt: at.now } : incident;
  const change = changeOf(action, closed, at, `${text} Reason: ${command.reason}`);
  const { id, alias } = incident;
  const said = `Closed ${alias}: ${at.actor.name} took ${id} on without a proof of recovery, reason=${command.reason}`;
  return changed({
    ...change,
    killSwitches: released,
    alerts: isUnsettled(incident) ? [{ kind: "closed", text: said, alias, incident: id }] : [],
    audit: { ...change.audit, reason: command.reason },
  });
}

/** Adds a note, or the root cause, which is one too. */
export function noteIncident(world: World, command: CommandOf<"noteIncident">, at: Circumstances): Transition {
  const incident = world.incidents.get(command.incident);
  if (!incident) return refused(incidentNotFound(command.incident));
  if (incident.notes.length >= MAX_INCIDENT_NOTES) {
    return refused({
      code: "bad_request",
      message: `${incident.id} has ${MAX_INCIDENT_NOTES} notes, which is the limit.`,
      hint: "Keep what more there is to say where your post-mortems are, and link to it.",
    });
  }
  const noted = command.isRootCause
    ? withRootCause(incident, command.text, at)
    : { ...incident, notes: [...incident.notes, { at: at.now, by: at.actor.name, text: command.text }] };
  const what = command.isRootCause ? "the root cause of" : "a note on";
  const change = emptyChange("incident.note", `alias:${incident.alias}`, `Added ${what} ${incident.id}.`);
  return changed({
    ...change,
    incidents: [noted],
    alerts: isFirstWord(incident) ? [acknowledgement(incident, at)] : [],
    audit: { incident: incident.id, reason: command.text },
  });
}

/** Whether its recovery may still be concluded: also when the window has passed, because a proof may come later. */
export function isVerifying({ state }: Incident): boolean {
  return state === "open" || state === "unverified";
}

export function withTimeline(incident: Incident, at: Circumstances, text: string): Incident {
  return { ...incident, timeline: [...incident.timeline, { at: at.now, by: at.actor.name, text }] };
}

export function withRootCause(incident: Incident, text: string, at: Circumstances): Incident {
  const rootCause = { at: at.now, by: at.actor.name, text };
  return withTimeline({ ...incident, rootCause, notes: [...incident.notes, rootCause] }, at, "Noted the root cause.");
}

/** Nobody, neither a proof nor a person, has answered for it yet. */
export function isUnsettled({ state }: Incident): boolean {
  return state !== "recovered" && state !== "closed";
}

/** Nobody has said anything about it but what opened it, and it still waits for somebody. */
function isFirstWord(incident: Incident): boolean {
  return isUnsettled(incident) && incident.notes.every(({ at }) => at === incident.openedAt);
}

function acknowledgement({ id, alias }: Incident, { actor }: Circumstances): Alert {
  return { kind: "acknowledged", text: `Acknowledged ${alias}: ${actor.name} looks at ${id}.`, alias, incident: id };
}

function changeOf(action: string, incident: Incident, at: Circumstances, text: string): Change {
  return {
    ...emptyChange(action, `alias:${incident.alias}`, text),
    incidents: [withTimeline(incident, at, text)],
    audit: {
      incident: incident.id,
      decisionId: incident.decisionId,
      fromVersion: incident.candidate,
      toVersion: incident.target,
      stage: incident.stage,
    },
  };
}

function settledText(incident: Incident, { as, because }: CommandOf<"settleIncident">): string {
  const { alias, candidate, target } = incident;
  switch (as) {
    case "recovered":
      return `Recovered ${alias}: after the rollback of ${candidate}, ${target} is proven healthy (${because}).`;
    case "unverified":
      return `Recovery unverified ${alias}: after the rollback of ${candidate}, ${because}.`;
    case "not_recovered":
      return `Not recovered ${alias}: after the rollback of ${candidate}, ${because}.`;
  }
}

function alertOf(kind: CommandOf<"settleIncident">["as"], { alias, id }: Incident, text: string): Alert {
  const wayOut =
    kind === "recovered" ? "" : ` What it engaged stays engaged; release it with: flagback incident release ${id}.`;
  return { kind, text: text + wayOut, alias, incident: id };
}

/** The switches that the incident holds, without its own entries. */
function withoutEntriesOf(world: World, incident: Incident): KillSwitch[] {
  const owner = `incident:${incident.id}`;
  return [...world.killSwitches.values()]
    .filter(({ engaged }) => engaged.some((entry) => entry.owner === owner))
    .map((killSwitch) => ({ ...killSwitch, engaged: killSwitch.engaged.filter((entry) => entry.owner !== owner) }));
}

/** The alias whose last rollout is the one that the incident ended, where it stands in one of the states. */
function rolloutSettled(
  world: World,
  incident: Incident,
  state: RolloutState,
  from: readonly RolloutState[] = ["rolled_back", "recovering", "unverified"],
): Change["aliases"] {
  const alias = world.aliases.get(incident.alias);
  if (!alias?.rollout || alias.rolloutNumber !== incident.rolloutNumber) return [];
  return from.includes(alias.rollout.state) ? [{ ...alias, rollout: { ...alias.rollout, state } }] : [];
}

function incidentNotFound(id: string): Refusal {
  return {
    code: "incident_not_found",
    message: `There is no incident ${id}.`,
    hint: "List them with flagback incidents.",
  };
}
