/**
 * The way of a change, the only one there is (DESIGN 2): command, transition, one transaction, new head.
 */
import {
  type Change,
  type Circumstances,
  type Command,
  type Transition,
  transition,
  visibleChange,
  type World,
  worldAfter,
} from "@flagback/core";
import { type Actor, type AuditEvent, FlagbackError, type PlanStep } from "@flagback/schemas";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import type { Commit, HistoryEntry, LedgerWrites, Loaded, Store } from "../store/store.ts";
import { digestOf, markAfter } from "./canonical.ts";
import { History } from "./history.ts";
import { Serial } from "./serial.ts";

/** What a command did. `unchanged` and `already_rolled_back` wrote nothing. */
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
}

export interface ExecuteOptions {
  /** Refuse where the target document is at another revision. */
  readonly ifMatch?: number;
  readonly idempotency?: Commit["idempotency"];
  /** For the incident of a stop by the brain. */
  readonly decideMs?: number;
  readonly outcomesToDecision?: number;
}

/** Told in the same synchronous step in which the head advances. */
export interface EngineListener {
  /** A change was committed; `history` is there where runtimes see it. */
  committed(event: { readonly change: Change; readonly history?: HistoryEntry; readonly commitMs: number }): void;
  /** Counts became durable. */
  durable(writes: LedgerWrites): void;
}

export class Engine {
  readonly history: History;
  readonly #store: Store;
  readonly #now: () => number;
  readonly #serial = new Serial();
  readonly #listeners: EngineListener[] = [];
  #world: World;
  #book: LedgerBook | undefined;

  constructor(parts: { readonly store: Store; readonly loaded: Loaded; readonly now: () => number }) {
    const { loaded } = parts;
    this.#store = parts.store;
    this.#now = parts.now;
    this.history = new History(loaded.epoch, loaded.history);
    this.#world = {
      aliases: new Map(loaded.aliases.map((alias) => [alias.name, alias])),
      versions: new Map(loaded.versions.map((version) => [version.id, version])),
      killSwitches: new Map(loaded.killSwitches.map((killSwitch) => [killSwitch.key, killSwitch])),
      flags: new Map(loaded.flags.map((flag) => [flag.key, flag])),
      decisions: new Map(loaded.decisions.map((decision) => [decision.id, decision.incident])),
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
      const repeated = options.idempotency && (await this.#repeated(options.idempotency));
      if (repeated) return repeated;
      checkRevision(this.#world, command, options.ifMatch);
      const at = this.#circumstances(actor);
      const result = accepted(transition(this.#world, command, at));
      if (result.kind === "change") return await this.#commit(result.change, at, options);
      const { kind: status, action, summary } = result;
      const base = { status, action, summary, revision: this.history.head.revision, isVisible: false };
      if (result.kind === "already_rolled_back") {
        return { ...base, decisionId: result.decisionId, incident: result.incident };
      }
      return { ...base, plan: result.plan };
    });
  }

  /** Makes counts durable. A failure keeps them for the next attempt. */
  flushLedger(): Promise<void> {
    return this.#serial.run(async () => {
      const book = this.#book;
      if (!book?.hasUnwritten()) return;
      await this.#withLedger(book, (writes) => this.#store.writeLedger(writes));
    });
  }

  /** Audits a verdict that changed nothing. */
  audit(row: Omit<AuditEvent, "id" | "timestamp">): Promise<number> {
    return this.#store.appendAudit({ ...row, timestamp: new Date(this.#now()).toISOString() });
  }

  async #commit(change: Change, at: Circumstances, options: ExecuteOptions): Promise<Executed> {
    const { head } = this.history;
    const visible = visibleChange(this.#world, worldAfter(this.#world, change), change);
    const touched = [
      ...visible.put.map(({ kind, key }) => ({ kind, key })),
      ...visible.deleted.map((key) => ({ kind: "flag" as const, key })),
    ];
    const revision = head.revision + 1;
    const history: HistoryEntry | undefined =
      touched.length === 0
        ? undefined
        : { revision, mark: markAfter(head.mark, { put: visible.put, delete: visible.deleted }), touched };
    const stamped = history ? stamp(change, touched, revision) : change;
    const commit = {
      at: at.now,
      aliases: stamped.aliases,
      versions: stamped.versions,
      killSwitches: stamped.killSwitches,
      flags: stamped.flags,
      deletedFlags: stamped.deletedFlags,
      history,
      audit: auditRow(stamped, at, history?.revision),
      decision: stamped.decision,
      incident: stamped.incident && {
        incident: stamped.incident,
        decideMs: options.decideMs ?? null,
        outcomesToDecision: options.outcomesToDecision ?? null,
      },
      alerts: stamped.alerts,
      idempotency: options.idempotency,
    };
    const { auditId, commitMs } = await this.#withLedger(this.#book, (ledger) =>
      this.#store.commit({ ...commit, ledger }),
    );
    this.#world = worldAfter(this.#world, stamped);
    if (history) this.history.push(history);
    for (const listener of this.#listeners) listener.committed({ change: stamped, history, commitMs });
    return {
      status: "done",
      action: stamped.action,
      summary: stamped.summary,
      revision: this.history.head.revision,
      isVisible: history !== undefined,
      auditId,
      decisionId: stamped.decision?.id,
      incident: stamped.incident?.id,
      plan: stamped.plan,
    };
  }

  async #withLedger<Result>(
    book: LedgerBook | undefined,
    write: (writes: LedgerWrites) => Promise<Result>,
  ): Promise<Result> {
    const writes = book ? book.collect() : NO_WRITES;
    try {
      const result = await write(writes);
      book?.confirm(writes);
      for (const listener of this.#listeners) listener.durable(writes);
      return result;
    } catch (error) {
      book?.restore(writes);
      throw error;
    }
  }

  async #repeated(idempotency: NonNullable<Commit["idempotency"]>): Promise<Executed | undefined> {
    const found = await this.#store.findIdempotent(idempotency.tokenId, idempotency.key);
    if (!found) return undefined;
    if (found.bodyHash !== idempotency.bodyHash) {
      throw new FlagbackError({
        code: "idempotency_key_reused",
        message: `The Idempotency-Key ${idempotency.key} was used for another request.`,
        hint: "Use a fresh key for each new request, and the same key only to repeat one.",
      });
    }
    const [row] = await this.#store.readAudit({ id: found.auditId, limit: 1 });
    if (!row) return undefined;
    return {
      status: "done",
      action: row.action,
      summary: row.summary,
      revision: row.revision ?? this.history.head.revision,
      isVisible: row.revision !== undefined,
      auditId: row.id,
      decisionId: row.decisionId,
      incident: row.incident,
    };
  }

  #circumstances(actor: Actor): Circumstances {
    return { actor, now: new Date(this.#now()).toISOString(), digestOf };
  }
}

const NO_WRITES: LedgerWrites = {
  instances: [],
  assignments: [],
  closedAssignments: [],
  ticks: [],
  closedHeldTicks: [],
  ledgers: [],
  runs: [],
  tick: 0,
};

function accepted(result: Transition): Exclude<Transition, { kind: "refused" }> {
  if (result.kind === "refused") throw new FlagbackError(result.refusal);
  return result;
}

/** Writes the revision into the documents that runtimes see changed. */
function stamp(change: Change, touched: HistoryEntry["touched"], revision: number): Change {
  const isTouched = (kind: HistoryEntry["touched"][number]["kind"], key: string) =>
    touched.some((each) => each.kind === kind && each.key === key);
  return {
    ...change,
    aliases: change.aliases.map((alias) => (isTouched("alias", alias.name) ? { ...alias, revision } : alias)),
    killSwitches: change.killSwitches.map((each) => (isTouched("killSwitch", each.key) ? { ...each, revision } : each)),
    flags: change.flags.map((flag) => (isTouched("flag", flag.key) ? { ...flag, revision } : flag)),
    ...(change.incident ? { incident: { ...change.incident, revision } } : {}),
  };
}

function auditRow(change: Change, at: Circumstances, revision: number | undefined): Omit<AuditEvent, "id"> {
  const { switchStatus: _pending, ...columns } = change.audit;
  return {
    timestamp: at.now,
    actor: at.actor,
    action: change.action,
    target: change.target,
    summary: change.summary,
    ...columns,
    ...(revision === undefined ? {} : { revision }),
  };
}

function checkRevision(world: World, command: Command, ifMatch: number | undefined): void {
  if (ifMatch === undefined) return;
  const current = revisionOf(world, command);
  if (current === undefined || current === ifMatch) return;
  throw new FlagbackError({
    code: "revision_conflict",
    message: `The document is at revision ${current}, not ${ifMatch}: somebody changed it meanwhile.`,
    hint: "Read it again, look at what changed, and repeat with the new revision.",
  });
}

/** Revision of the document that a command is about. Emergencies (rollback, engage, stop) have none: they lose no races. */
function revisionOf(world: World, command: Command): number | undefined {
  switch (command.kind) {
    case "putAlias":
      return world.aliases.get(command.name)?.revision;
    case "addCandidates":
    case "declareStable":
    case "startRollout":
    case "resumeRollout":
    case "promote":
    case "unlock":
      return world.aliases.get(command.alias)?.revision;
    case "release":
    case "putKillSwitch":
      return world.killSwitches.get(command.key)?.revision;
    case "putFlag":
    case "deleteFlag":
      return world.flags.get(command.key)?.revision;
    case "registerVersion":
    case "retireVersion":
    case "pauseRollout":
    case "holdRollout":
    case "rollback":
    case "engage":
    case "expireEntries":
    case "stopEverything":
    case "apply":
      return undefined;
  }
}
