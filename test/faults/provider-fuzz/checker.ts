/**
 * Judges the history of one runtime, event by event and without I/O, by what docs/protocol.md and docs/guarantees.md promise.
 * It follows what a correct runtime may hold and never asks the provider what it does hold.
 */
import { applyDelta, type Documents, documentsOf, isEngaged } from "@flagback/core/evaluation";
import type { RuntimeAlias, RuntimeKillSwitch, RuntimeMessage, ServerMessage } from "@flagback/schemas";
import type { Answer, Began, Cursor, RuntimeEvent, Violation } from "./history.ts";

/** What a runtime holds once it has taken in what was sent. */
interface HeldState extends Cursor {
  readonly documents: Documents;
}

/** One connection: what it may continue from, and whether a correct runtime still listens to it. */
interface LinkState {
  readonly link: number;
  /** When each lease was asked for that has no answer yet. */
  readonly asked: Map<number, number>;
  hello: Extract<ServerMessage, { type: "hello" }> | null;
  /** The state that the next delta continues from. */
  base: number | null;
  /** The first state of this connection. */
  readonly first: number;
  isOver: boolean;
}

/** States that are kept behind the acknowledged one, for evaluations that began before its acknowledgement. */
const KEPT_STATES = 1_000;
/** Leases that the provider honours at least and at most, whatever a hello says (provider/src/limits.ts). */
const MIN_LEASE_MS = 50;
const MAX_LEASE_MS = 3_600_000;

export class RuntimeChecker {
  readonly #states: HeldState[] = [];
  /** States that were forgotten: the index of the first one kept. */
  #forgotten = 0;
  #acknowledged = -1;
  #link: LinkState | null = null;
  readonly #polls = new Map<string, { readonly atMs: number; readonly cursor: Cursor | null }>();
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #status: string | null = null;
  #acknowledgements = 0;

  /** How often the runtime said that it holds something new. */
  get acknowledgements(): number {
    return this.#acknowledgements;
  }

  /** An evaluation begins now. */
  begin(atMs: number): Began {
    return { atMs, acknowledged: this.#acknowledged };
  }

  /** What is wrong with the history now that this has happened. */
  observe(event: RuntimeEvent): Violation[] {
    switch (event.kind) {
      case "opened":
        this.#link = {
          link: event.link,
          asked: new Map(),
          hello: null,
          base: null,
          first: this.#end,
          isOver: false,
        };
        return [];
      case "sent":
        if (this.#link?.link === event.link) this.#sent(this.#link, event.message);
        return [];
      case "heard":
        return this.#link?.link === event.link ? this.#heard(this.#link, event.message, event.atMs) : [];
      case "polled":
        this.#polls.set(event.nonce, event);
        return event.cursor === null ? [] : this.#holds(event.cursor, "polls after");
      case "pollAnswered":
        this.#pollAnswered(event);
        return [];
      case "restarted":
        this.#restarted();
        return [];
      case "status":
        return this.#statusSaid(event.status, event.atMs);
      case "answered":
        return this.#answered(event.began, event.answer);
      case "escaped":
        return [{ rule: "escaped", detail: `${event.where}: ${event.error}` }];
    }
  }

  get #end(): number {
    return this.#forgotten + this.#states.length;
  }

  #state(index: number): HeldState | undefined {
    return this.#states[index - this.#forgotten];
  }

  /** What a correct runtime makes of a message: it takes it in, or it hangs up. */
  #sent(link: LinkState, message: ServerMessage | null): void {
    if (link.isOver) return;
    switch (message?.type) {
      case undefined:
        link.isOver = true;
        return;
      case "hello":
        link.isOver = link.hello !== null;
        link.hello ??= message;
        return;
      case "snapshot": {
        const isCurrent = link.hello?.epoch === message.epoch && message.revision >= this.#floorOf(link);
        if (isCurrent) link.base = this.#push(message, documentsOf(message.documents));
        else link.isOver = true;
        return;
      }
      case "delta": {
        const base = link.base === null ? undefined : this.#state(link.base);
        const follows = base?.epoch === link.hello?.epoch && base?.revision === message.from;
        if (base && follows && message.revision > message.from) {
          link.base = this.#push({ ...message, epoch: base.epoch }, applyDelta(base.documents, message));
        } else link.isOver = true;
        return;
      }
      case "lease":
        this.#leaseAnswered(link, message.id, message.revision);
        return;
      case "outcomesAck":
        link.isOver = link.hello === null;
        return;
      case "goodbye":
      case "error":
        return;
    }
  }

  /** A snapshot is at least as new as the hello before it and as all that came on the connection. */
  #floorOf(link: LinkState): number {
    const held = link.base === null || link.base < link.first ? undefined : this.#state(link.base);
    return Math.max(link.hello?.revision ?? Number.POSITIVE_INFINITY, held?.revision ?? 0);
  }

  #leaseAnswered(link: LinkState, id: number, revision: number): void {
    const askedMs = link.asked.get(id);
    if (askedMs === undefined || !link.hello) return;
    link.asked.delete(id);
    const { epoch, leaseMs } = link.hello;
    const from = Math.max(0, this.#acknowledged - this.#forgotten);
    const isHeld = this.#states.slice(from).some((state) => state.epoch === epoch && state.revision >= revision);
    if (isHeld) this.#extendLease(askedMs, leaseMs);
  }

  #extendLease(askedMs: number, leaseMs: number): void {
    const honouredMs = Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, leaseMs));
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs, askedMs + honouredMs);
  }

  #heard(link: LinkState, message: RuntimeMessage, atMs: number): Violation[] {
    switch (message.type) {
      case "hello": {
        if (!message.resume) return [];
        const violations = this.#holds(message.resume, "resumes from");
        if (violations.length === 0) link.base = this.#acknowledged;
        return violations;
      }
      case "lease":
        link.asked.set(message.id, atMs);
        return [];
      case "applied": {
        const from = Math.max(link.first, this.#acknowledged);
        const index = this.#states.findIndex(
          (state, i) => i + this.#forgotten >= from && state.revision === message.revision,
        );
        if (index < 0) return [unsent(`applied ${message.revision}`)];
        this.#acknowledge(index + this.#forgotten);
        return [];
      }
      case "outcomes":
      case "goodbye":
        return [];
    }
  }

  /** The runtime says where it stands: that was sent to it, and is nothing that it had left behind. */
  #holds(cursor: Cursor, how: string): Violation[] {
    const isCursor = (state: HeldState) =>
      state.epoch === cursor.epoch && state.revision === cursor.revision && state.mark === cursor.mark;
    const index = this.#states.findLastIndex(isCursor);
    const what = `${how} ${cursor.epoch.slice(0, 6)} ${cursor.revision} ${cursor.mark}`;
    if (index < 0) return [unsent(what)];
    if (index + this.#forgotten < this.#acknowledged) {
      const { epoch, revision } = this.#state(this.#acknowledged) as HeldState;
      return [{ rule: "went_back", detail: `${what} after ${epoch.slice(0, 6)} ${revision} was acknowledged` }];
    }
    this.#acknowledge(index + this.#forgotten);
    return [];
  }

  #pollAnswered({ nonce, head, snapshot }: Extract<RuntimeEvent, { kind: "pollAnswered" }>): void {
    const asked = this.#polls.get(nonce);
    if (!asked) return;
    this.#polls.delete(nonce);
    const held = this.#state(this.#acknowledged);
    if (snapshot) {
      // An answer that was overtaken is void. Only who asks for everything may be taken back.
      const isOvertaken = held?.epoch === head.epoch && held.revision > head.revision && asked.cursor !== null;
      if (isOvertaken) return;
      this.#push(snapshot, documentsOf(snapshot.documents));
    } else if (held?.epoch !== head.epoch || held.revision !== head.revision || held.mark !== head.mark) return;
    this.#extendLease(asked.atMs, head.leaseMs);
  }

  /** The new process may hold whatever the old one held at some time, and is permitted nothing. */
  #restarted(): void {
    this.#link = null;
    this.#polls.clear();
    this.#acknowledged = -1;
    this.#leaseUntilMs = Number.NEGATIVE_INFINITY;
    this.#status = null;
  }

  #statusSaid(status: string, atMs: number): Violation[] {
    const violations: Violation[] = [];
    if (status === "error" && this.#status !== "stale") {
      violations.push({ rule: "false_status", detail: `error after ${this.#status}` });
    }
    if (status === this.#status) violations.push({ rule: "false_status", detail: `${status} after ${status}` });
    if (status === "ready" && atMs >= this.#leaseUntilMs) {
      violations.push({ rule: "false_status", detail: `ready ${lateness(atMs, this.#leaseUntilMs)}` });
    }
    this.#status = status;
    return violations;
  }

  #answered(began: Began, answer: Answer): Violation[] {
    const possible = this.#states.slice(Math.max(0, began.acknowledged - this.#forgotten));
    switch (answer.kind) {
      case "version":
        return this.#served(began, answer, possible);
      case "writeAllowed":
        return this.#allowed(began, answer, possible);
    }
  }

  /** Some state from the acknowledged one on serves the version; and it is stable's, or there is a lease. */
  #served(began: Began, answer: Extract<Answer, { kind: "version" }>, possible: readonly HeldState[]): Violation[] {
    const { alias, version, reason } = answer;
    const aliases = possible.flatMap(({ documents }) => documentOf<RuntimeAlias>(documents, "alias", alias) ?? []);
    if (!aliases.some((document) => mayServe(document, version))) {
      const since = this.#state(began.acknowledged)?.revision ?? "nothing";
      return [{ rule: "withdrawn_version", detail: `${alias} answers ${version}, acknowledged ${since}` }];
    }
    const isTrusted = reason !== null && reason !== "STALE";
    const isSafe = aliases.some((document) => document.stable === version || document.onLeaseLapse === "last");
    if (began.atMs < this.#leaseUntilMs || (isSafe && !isTrusted)) return [];
    const late = lateness(began.atMs, this.#leaseUntilMs);
    return [{ rule: "without_lease", detail: `${alias} answers ${version} (${reason}) ${late}` }];
  }

  #allowed(
    began: Began,
    { switchKey, attributes }: Extract<Answer, { kind: "writeAllowed" }>,
    possible: readonly HeldState[],
  ): Violation[] {
    const switches = possible.flatMap(({ documents }) => {
      return documentOf<RuntimeKillSwitch>(documents, "killSwitch", switchKey) ?? [];
    });
    const released = switches.filter((document) => !isEngaged(document, attributes));
    if (released.length === 0) {
      const since = this.#state(began.acknowledged)?.revision ?? "nothing";
      return [{ rule: "engaged_switch", detail: `a write under ${switchKey} is allowed, acknowledged ${since}` }];
    }
    if (released.some(({ failSafe }) => !failSafe.engage)) return [];
    const graceMs = Math.max(...released.map(({ failSafe }) => failSafe.afterMs));
    if (began.atMs < this.#leaseUntilMs + graceMs) return [];
    const late = lateness(began.atMs, this.#leaseUntilMs + graceMs);
    return [{ rule: "without_lease", detail: `a write under ${switchKey} is allowed ${late}` }];
  }

  #push({ epoch, revision, mark }: Cursor, documents: Documents): number {
    this.#states.push({ epoch, revision, mark, documents });
    const spare = Math.min(this.#states.length, this.#acknowledged - this.#forgotten) - KEPT_STATES;
    if (spare > KEPT_STATES) {
      this.#states.splice(0, spare);
      this.#forgotten += spare;
    }
    return this.#end - 1;
  }

  #acknowledge(index: number): void {
    if (index > this.#acknowledged) this.#acknowledgements += 1;
    this.#acknowledged = index;
  }
}

/** With weight, or stable; never one that was rolled back (DESIGN 4). */
function mayServe(alias: RuntimeAlias, version: string): boolean {
  if (Object.hasOwn(alias.revoked, version)) return false;
  return alias.stable === version || alias.allocation.some((slot) => slot.version === version && slot.weight > 0);
}

function documentOf<Document extends RuntimeAlias | RuntimeKillSwitch>(
  documents: Documents,
  kind: Document["kind"],
  key: string,
): Document | undefined {
  const document = documents.get(key);
  return document?.kind === kind ? (document as Document) : undefined;
}

function unsent(what: string): Violation {
  return { rule: "unsent_acknowledged", detail: `the runtime ${what}, which it was never sent` };
}

function lateness(atMs: number, untilMs: number): string {
  return Number.isFinite(untilMs) ? `${(atMs - untilMs).toFixed(1)} ms after its lease` : "without ever a lease";
}
