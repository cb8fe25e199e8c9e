/**
 * What a transition may look at, and what it may bring about.
 */
import type {
  Actor,
  Alias,
  AskedDecision,
  AuditEvent,
  CoordinatedRollback,
  Decision,
  DocumentRef,
  Flag,
  GuardrailEvidence,
  Incident,
  Json,
  JsonSchema,
  KillSwitch,
  PlanStep,
  Refusal,
  Release,
  StopReason,
  Trigger,
  Version,
} from "@flagback/schemas";

/** Every document, as of one revision. */
export interface World {
  readonly aliases: ReadonlyMap<string, Alias>;
  readonly versions: ReadonlyMap<string, Version>;
  readonly killSwitches: ReadonlyMap<string, KillSwitch>;
  readonly flags: ReadonlyMap<string, Flag>;
  /** Ids of the decisions that were carried out, with the incident that each opened. */
  readonly decisions: ReadonlyMap<string, string>;
  readonly incidents: ReadonlyMap<string, Incident>;
  readonly triggers: ReadonlyMap<string, Trigger>;
  /** Decisions that people are or were asked for. */
  readonly asked: ReadonlyMap<string, AskedDecision>;
  readonly releases: ReadonlyMap<string, Release>;
  /** Of aliases that were removed, the number of the last rollout: one made anew under the name repeats none. */
  readonly lastRolloutNumbers?: ReadonlyMap<string, number>;
}

/** Checks payloads by JSON Schema. */
export interface PayloadChecker {
  /** Why a schema can't be used, in a clause; `undefined` where it can. */
  schemaProblem(schema: JsonSchema): string | undefined;
  /** What is wrong with a payload, each with its path, such as `/tools/0 must have required property 'name'`. */
  payloadProblems(schema: JsonSchema, payload: Json): readonly string[];
}

/** Who commands, when, and the tools that a transition needs. */
export interface Circumstances {
  readonly actor: Actor;
  /** UTC, ISO 8601 with milliseconds. */
  readonly now: string;
  /** SHA-256, in hex, of a value's canonical JSON (RFC 8785). */
  readonly digestOf: (value: unknown) => string;
  readonly payloads: PayloadChecker;
}

/** What the brain found when it commands a rollback. */
export interface StopFinding {
  readonly reason: StopReason;
  readonly attribution: Decision["attribution"];
  readonly evidence: readonly GuardrailEvidence[];
  /** Ids of the last runs counted. */
  readonly lastRunIds: readonly string[];
  /** The judge's exact input, so that anybody can replay the decision. */
  readonly input: unknown;
}

/** A message for people, delivered by webhook from the outbox. */
export interface Alert {
  readonly kind:
    | "rollback"
    | "stop"
    | "hold"
    | "approval"
    | "rejected"
    | "continued"
    | "bypass"
    | "recovered"
    | "unverified"
    | "not_recovered"
    | "acknowledged"
    | "closed";
  readonly text: string;
  readonly alias?: string;
  readonly incident?: string;
  /** Id of the decision that people are asked for, and which time of asking it is. */
  readonly decision?: string;
  readonly round?: number;
}

/** A rollback: what was decided, and the incident that it opens. */
export interface Stop {
  readonly decision: Decision;
  readonly incident: Incident;
}

/** A document that a change removes. */
export interface Removed {
  readonly kind: DocumentRef["kind"] | "trigger";
  readonly key: string;
}

/** What one audit row says. */
export interface AuditText {
  readonly action: string;
  readonly target: string;
  readonly summary: string;
  /** Columns of the row beyond action, target, summary, actor and time. */
  readonly audit: Partial<AuditEvent>;
}

/** What one command changes: whole documents as they are after it, and the rows that belong to it. */
export interface Change extends AuditText {
  readonly aliases: readonly Alias[];
  readonly versions: readonly Version[];
  readonly killSwitches: readonly KillSwitch[];
  readonly flags: readonly Flag[];
  readonly triggers: readonly Trigger[];
  readonly releases: readonly Release[];
  /** Rollbacks that it carries out; several only where they are coordinated. */
  readonly stops: readonly Stop[];
  /** Its audit rows, where it has several in place of one. */
  readonly rows?: readonly AuditText[];
  readonly deleted: readonly Removed[];
  /** Incidents that were there before. */
  readonly incidents: readonly Incident[];
  /** Decisions that it asks people for, or that it closes. */
  readonly asked: readonly AskedDecision[];
  readonly alerts: readonly Alert[];
  /** Present for an apply. */
  readonly plan?: readonly PlanStep[];
  /** Present for a coordinated rollback. */
  readonly coordinated?: CoordinatedRollback;
}

export type Transition =
  | { readonly kind: "change"; readonly change: Change }
  | {
      readonly kind: "unchanged";
      readonly action: string;
      readonly summary: string;
      readonly plan?: readonly PlanStep[];
    }
  | {
      readonly kind: "already_rolled_back";
      readonly action: string;
      readonly summary: string;
      readonly decisionId: string;
      readonly incident: string;
      readonly coordinated?: CoordinatedRollback;
    }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** A change of nothing yet, to be filled in. */
export function emptyChange(action: string, target: string, summary: string): Change {
  return {
    action,
    target,
    summary,
    aliases: [],
    versions: [],
    killSwitches: [],
    flags: [],
    triggers: [],
    releases: [],
    stops: [],
    deleted: [],
    audit: {},
    incidents: [],
    asked: [],
    alerts: [],
  };
}

export function changed(change: Change): Transition {
  return { kind: "change", change };
}

export function refused(refusal: Refusal): Transition {
  return { kind: "refused", refusal };
}

/** The world as it is after a change. */
export function worldAfter(world: World, change: Change): World {
  const edited = <T>(
    kind: Removed["kind"] | undefined,
    before: ReadonlyMap<string, T>,
    documents: readonly T[],
    keyOf: (document: T) => string,
  ) => {
    const gone = change.deleted.filter((each) => each.kind === kind);
    if (documents.length === 0 && gone.length === 0) return before;
    const after = new Map(before);
    for (const document of documents) after.set(keyOf(document), document);
    for (const { key } of gone) after.delete(key);
    return after;
  };
  return {
    aliases: edited("alias", world.aliases, change.aliases, (alias) => alias.name),
    versions: edited(undefined, world.versions, change.versions, (version) => version.id),
    killSwitches: edited("killSwitch", world.killSwitches, change.killSwitches, (killSwitch) => killSwitch.key),
    flags: edited("flag", world.flags, change.flags, (flag) => flag.key),
    decisions:
      change.stops.length > 0
        ? new Map([...world.decisions, ...change.stops.map((stop) => [stop.decision.id, stop.incident.id] as const)])
        : world.decisions,
    incidents: edited(
      undefined,
      world.incidents,
      [...change.incidents, ...change.stops.map((stop) => stop.incident)],
      (each) => each.id,
    ),
    triggers: edited("trigger", world.triggers, change.triggers, (trigger) => trigger.id),
    asked: edited(undefined, world.asked, change.asked, (asked) => asked.id),
    releases: edited(undefined, world.releases, change.releases, (release) => release.name),
    lastRolloutNumbers: lastRolloutNumbers(world, change),
  };
}

function lastRolloutNumbers(world: World, { deleted }: Change): World["lastRolloutNumbers"] {
  const removed = deleted.flatMap(({ kind, key }) => (kind === "alias" ? (world.aliases.get(key) ?? []) : []));
  if (removed.length === 0) return world.lastRolloutNumbers;
  return new Map([
    ...(world.lastRolloutNumbers ?? []),
    ...removed.map(({ name, rolloutNumber }) => [name, rolloutNumber] as const),
  ]);
}
