/**
 * The way of a change, the only one there is (DESIGN 2): command, transition, one transaction, new head.
 */
import {
  type AuditText,
  type Change,
  type Circumstances,
  type Command,
  incidentSnapshot,
  type Transition,
  transition,
  visibleChange,
  type World,
  worldAfter,
} from "@flagback/core";
import {
  type Actor,
  type AuditEvent,
  type CoordinatedRollback,
  FlagbackError,
  type Incident,
  type IncidentSnapshot,
  isDrillName,
  type Observed,
  type PlanStep,
} from "@flagback/schemas";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import { type LedgerWrites, NO_LEDGER_WRITES } from "../store/ledger-writes.ts";
import type { Commit, HistoryEntry, Loaded, PruneStep, RequestKey, Store } from "../store/store.ts";
import { type Context, carrierOf, type TraceCarrier } from "../telemetry/tracing.ts";
import { digestOf, markAfter } from "./canonical.ts";
import { checkEdit, type IfMatch } from "./edit-check.ts";
import { History } from "./history.ts";
import { JsonSchemaChecker } from "./json-schema-checker.ts";
import { checkPlan } from "./plan-digest.ts";
import { RefusalAudit } from "./refusal-audit.ts";
import { RepeatAudit } from "./repeat-audit.ts";
import { Serial } from "./serial.ts";
import { stamp } from "./stamp.ts";

/** What a command did. `unchanged` and `already_rolled_back` changed nothing. */
export interface Executed {
  readonly status: "done" | "unchanged" | "already_rolled_back";
  readonly action: string;
  readonly summary: string;
  /** The head after it. */
  readonly revision: number;
  /** True where runtimes see it, so that its propagation can be awaited. */
  readonly isVisible: boolean;
  readonly auditId?: number;
  readonly decisionId?: string;
  readonly incident?: string;
  readonly plan?: readonly PlanStep[];
  readonly coordinated?: CoordinatedRollback;
}

export interface ExecuteOptions {
  /** Refuse where the target document is at another edit, or where there is none; `*` is any edit. */
  readonly ifMatch?: IfMatch;
  /** Answer a repeat of this request with what it was answered first. */
  readonly idempotency?: RequestKey;
  /** Of an apply: refuse where its plan would be another one. */
  readonly ifPlan?: string;
  /** What the log calls the request by that asks for it. */
  readonly requestId?: string;
  /** The trace that the change belongs to. */
  readonly trace?: Context;
  /** For the incident of a stop by the brain. */
  readonly decideMs?: number;
  readonly outcomesToDecision?: number;
  /** From when the evidence began to rise to the arrival of what completed it. */
  readonly detectMs?: number;
}

export interface Committed {
  readonly change: Change;
  /** There where runtimes see it. */
  readonly history?: HistoryEntry;
  readonly actor: Actor;
  readonly auditId: number;
  readonly commitMs: number;
  readonly options: ExecuteOptions;
}

/** Told in the same synchronous step in which the head advances. */
export interface EngineListener {
  committed(event: Committed): void;
  /** Counts became durable; the oldest of them had waited for `waitedMs`. */
  durable(writes: LedgerWrites, waitedMs: number): void;
}

export class Engine {
  readonly history: History;
  readonly payloads = new JsonSchemaChecker();
  readonly #store: Store;
  readonly #now: () => number;
  readonly #serial = new Serial();
  readonly #repeats: RepeatAudit;
  readonly #refusals: RefusalAudit;
  readonly #listeners: EngineListener[] = [];
  #world: World;
  #book: LedgerBook | undefined;

  constructor(parts: { readonly store: Store; readonly loaded: Loaded; readonly now: () => number }) {
    const { loaded } = parts;
    this.#store = parts.store;
    this.#now = parts.now;
    this.#repeats = new RepeatAudit((row) => this.audit(row), parts.now);
    this.#refusals = new RefusalAudit((row) => this.audit(row), parts.now);
    this.history = new History(loaded.epoch, loaded.history);
    this.#world = {
      aliases: new Map(loaded.aliases.map((alias) => [alias.name, alias])),
      versions: new Map(loaded.versions.map((version) => [version.id, version])),
      killSwitches: new Map(loaded.killSwitches.map((killSwitch) => [killSwitch.key, killSwitch])),
      flags: new Map(loaded.flags.map((flag) => [flag.key, flag])),
      decisions: new Map(loaded.decisions.map((decision) => [decision.id, decision.incident])),
      incidents: new Map(loaded.incidents.map((incident) => [incident.id, incident])),
      triggers: new Map(loaded.triggers.map((trigger) => [trigger.id, trigger])),
      asked: new Map(loaded.asked.map((asked) => [asked.id, asked])),
      releases: new Map(loaded.releases.map((release) => [release.name, release])),
      lastRolloutNumbers: new Map(loaded.lastRolloutNumbers.map((last) => [last.alias, last.rolloutNumber])),
    };
  }

  get world(): World {
    return this.#world;
  }

  /** The book whose counts each change writes first. Set once, at composition. */
  attach(book: LedgerBook): void {
    this.#book = book;
  }

  listen(listener: EngineListener): void {
    this.#listeners.push(listener);
  }

  /** What a command would do now, without doing it. @throws FlagbackError where it would be refused. */
  preview(command: Command, actor: Actor): Exclude<Transition, { kind: "refused" }> {
    return accepted(transition(this.#world, command, this.#circumstances(actor)));
  }

  /**
   * Carries out a command.
   * @throws FlagbackError with the refusal's code, or `database_unavailable`; then nothing changed.
   */
  execute(command: Command, actor: Actor, options: ExecuteOptions = {}): Promise<Executed> {
    return this.#serial.run(async () => {
      const answered = await this.#answered<Executed>(options.idempotency);
      if (answered) return { ...answered.answer, auditId: answered.auditId ?? undefined };
      checkEdit(this.#world, command, options.ifMatch);
      const at = this.#circumstances(actor);
      const decided = transition(this.#world, command, at);
      if (decided.kind === "refused" && "alias" in command) {
        await this.#refusals.note(command, this.#world.aliases.get(command.alias), actor, decided.refusal);
      }
      const result = accepted(decided);
      checkPlan(planOf(result), options.ifPlan);
      await this.#noteRepeats(repeatedIn(result), actor);
      if (result.kind === "change") return await this.#commit(result.change, at, options);
      const { kind, ...rest } = result;
      const executed = { ...rest, status: kind, revision: this.history.head.revision, isVisible: false };
      if (options.idempotency) await this.#store.putIdempotent({ ...options.idempotency, answer: executed }, at.now);
      return executed;
    });
  }

  /**
   * Runs work that changes no document in its turn among the commands. A repeat of its request gets the stored answer
   * instead; the work stores that with what it writes.
   */
  once<Answer>(request: RequestKey | undefined, work: () => Promise<Answer>): Promise<Answer> {
    return this.#serial.run(async () => (await this.#answered<Answer>(request))?.answer ?? work());
  }

  /**
   * Makes counts durable, and answers how long the disk took, in milliseconds; undefined where there were none. A failure
   * keeps them for the next attempt.
   */
  flushLedger(): Promise<number | undefined> {
    return this.#serial.run(async () => {
      const book = this.#book;
      if (!book?.hasUnwritten()) return undefined;
      return await this.#withLedger(book, (writes) => this.#store.writeLedger(writes));
    });
  }

  /** Drops what is past its term, also from memory. Answers how many rows went. */
  prune(step: PruneStep): Promise<number> {
    return this.#serial.run(async () => {
      const pruned = await this.#store.prune(step);
      if (pruned.ids.length > 0) this.#world = without(this.#world, new Set(pruned.ids));
      return pruned.rows;
    });
  }

  /** Audits what changed no document. */
  audit(row: Omit<AuditEvent, "id" | "timestamp">): Promise<number> {
    return this.#store.appendAudit({ ...row, timestamp: new Date(this.#now()).toISOString() });
  }

  async #commit(change: Change, at: Circumstances, options: ExecuteOptions): Promise<Executed> {
    const { head } = this.history;
    const visible = visibleChange(this.#world, worldAfter(this.#world, change), change);
    const touched = [...visible.put.map(({ kind, key }) => ({ kind, key })), ...visible.deleted];
    const revision = head.revision + 1;
    const history: HistoryEntry | undefined =
      touched.length === 0
        ? undefined
        : { revision, mark: markAfter(head.mark, { put: visible.put, delete: visible.deleted }), touched };
    const stamped = stamp(this.#world, change, touched, revision);
    const executed: Omit<Executed, "auditId"> = {
      status: "done",
      action: stamped.action,
      summary: stamped.summary,
      revision: history?.revision ?? head.revision,
      isVisible: history !== undefined,
      ...(stamped.coordinated
        ? { coordinated: stamped.coordinated }
        : { decisionId: stamped.stops[0]?.decision.id, incident: stamped.stops[0]?.incident.id }),
      plan: stamped.plan,
    };
    const commit = {
      at: at.now,
      aliases: stamped.aliases,
      versions: stamped.versions,
      killSwitches: stamped.killSwitches,
      flags: stamped.flags,
      triggers: stamped.triggers,
      deleted: stamped.deleted,
      history,
      releases: stamped.releases,
      audit: (stamped.rows ?? [stamped]).map((row) => auditRow(row, at, history?.revision)),
      stops: stamped.stops.map(({ decision, incident }) => ({
        decision,
        incident,
        snapshot: this.#snapshotOf(incident),
        detectMs: options.detectMs ?? null,
        decideMs: options.decideMs ?? null,
        outcomesToDecision: options.outcomesToDecision ?? null,
      })),
      incidents: stamped.incidents,
      asked: stamped.asked,
      alerts: withTrace(stamped.alerts.map(markedIfDrill), carrierOf(options.trace)),
      idempotency: options.idempotency && { ...options.idempotency, answer: executed },
    };
    const { auditId, commitMs } = await this.#withLedger(this.#book, (ledger) =>
      this.#store.commit({ ...commit, ledger }),
    );
    this.#world = worldAfter(this.#world, stamped);
    if (history) this.history.push(history);
    const event: Committed = { change: stamped, history, actor: at.actor, auditId, commitMs, options };
    for (const listener of this.#listeners) listener.committed(event);
    return { ...executed, auditId };
  }

  /** Taken of the world as it is before the rollback. */
  #snapshotOf(incident: Incident): IncidentSnapshot | undefined {
    const observed = this.#book?.observedOf({ alias: incident.alias, rolloutNumber: incident.rolloutNumber });
    return incidentSnapshot(this.#world, incident, observed ?? NOTHING_OBSERVED);
  }

  async #withLedger<Result>(
    book: LedgerBook | undefined,
    write: (writes: LedgerWrites) => Promise<Result>,
  ): Promise<Result> {
    try {
      const writes = book ? book.collect() : NO_LEDGER_WRITES;
      const result = await write(writes);
      const waitedMs = book?.confirm(writes) ?? 0;
      for (const listener of this.#listeners) listener.durable(writes, waitedMs);
      return result;
    } catch (error) {
      book?.restore();
      throw error;
    }
  }

  async #answered<Answer>(
    request: RequestKey | undefined,
  ): Promise<{ readonly answer: Answer; readonly auditId: number | null } | undefined> {
    const found = request && (await this.#store.findIdempotent(request.tokenId, request.key));
    if (!found) return undefined;
    if (found.bodyHash !== request.bodyHash) {
      throw new FlagbackError({
        code: "idempotency_key_reused",
        message: `The Idempotency-Key ${request.key} was used for another request.`,
        hint: "Use a fresh key for each new request, and the same key only to repeat one.",
      });
    }
    // The hash names method and path, so the answer is of the kind that this path stores.
    return { answer: found.answer as Answer, auditId: found.auditId };
  }

  async #noteRepeats(incidents: readonly string[], actor: Actor): Promise<void> {
    for (const id of incidents) {
      const incident = this.#world.incidents.get(id);
      if (incident) await this.#repeats.note(incident, actor);
    }
  }

  #circumstances(actor: Actor): Circumstances {
    return { actor, now: new Date(this.#now()).toISOString(), digestOf, payloads: this.payloads };
  }
}

const NOTHING_OBSERVED: Observed = {
  traffic: [],
  stages: [],
  runtimes: [],
  errors: [],
  tools: [],
  lastOutcomes: [],
};

/** Nobody may take a rehearsal for the real thing. */
function markedIfDrill(alert: Change["alerts"][number]): Commit["alerts"][number] {
  if (alert.alias === undefined || !isDrillName(alert.alias)) return alert;
  return { ...alert, text: `Drill: ${alert.text}`, drill: true };
}

/** An alert is delivered later, perhaps by another process; so it says itself which trace it belongs to. */
function withTrace(alerts: Commit["alerts"], trace: TraceCarrier | undefined): Commit["alerts"] {
  return trace ? alerts.map((alert) => ({ ...alert, trace })) : alerts;
}

/** What an apply does, or would do. */
export function planOf(result: Exclude<Transition, { kind: "refused" }>): readonly PlanStep[] {
  if (result.kind === "change") return result.change.plan ?? [];
  return result.kind === "unchanged" ? (result.plan ?? []) : [];
}

function accepted(result: Transition): Exclude<Transition, { kind: "refused" }> {
  if (result.kind === "refused") throw new FlagbackError(result.refusal);
  return result;
}

/** Incidents of rollbacks that were asked for again. */
function repeatedIn(result: Exclude<Transition, { kind: "refused" }>): readonly string[] {
  if (result.kind === "unchanged") return [];
  const { coordinated } = result.kind === "change" ? result.change : result;
  const again = coordinated?.aliases.filter(({ status }) => status === "already_rolled_back");
  if (again) return again.flatMap(({ incident }) => incident ?? []);
  return result.kind === "already_rolled_back" ? [result.incident] : [];
}

/** The world without incidents, whose decisions go with them, and without decisions that people were asked for. */
function without(world: World, gone: ReadonlySet<string>): World {
  return {
    ...world,
    incidents: new Map([...world.incidents].filter(([id]) => !gone.has(id))),
    asked: new Map([...world.asked].filter(([id]) => !gone.has(id))),
    decisions: new Map([...world.decisions].filter(([, incident]) => !gone.has(incident))),
  };
}

function auditRow(row: AuditText, at: Circumstances, revision: number | undefined): Omit<AuditEvent, "id"> {
  const { switchStatus: _pending, ...columns } = row.audit;
  return {
    timestamp: at.now,
    actor: at.actor,
    action: row.action,
    target: row.target,
    summary: row.summary,
    ...columns,
    ...(revision === undefined ? {} : { revision }),
  };
}
