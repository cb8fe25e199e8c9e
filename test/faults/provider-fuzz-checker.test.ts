/**
 * The fuzz's checker is tested by planted defects: each must be reported, and the same history without it must not.
 */
import type { RuntimeDocument, ServerMessage } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { alias, CANDIDATE, killSwitch, rolledBack, STABLE } from "../provider/documents.ts";
import { RuntimeChecker } from "./provider-fuzz/checker.ts";
import type { Rule, RuntimeEvent } from "./provider-fuzz/history.ts";

const EPOCH = "e".repeat(32);
const OTHER_EPOCH = "f".repeat(32);
const LEASE_MS = 300;
const markOf = (revision: number) => revision.toString(16).padStart(16, "0");

/** Writes a history as one would read it, and collects what the checker says to it. */
class History {
  readonly checker = new RuntimeChecker();
  readonly rules: Rule[] = [];
  #link = 0;
  #nowMs = 1_000;
  #asked = 0;

  add(event: RuntimeEvent): this {
    this.rules.push(...this.checker.observe(event).map(({ rule }) => rule));
    return this;
  }

  passes(ms: number): this {
    this.#nowMs += ms;
    return this;
  }

  connects(revision: number, epoch = EPOCH, resume?: number): this {
    this.#link += 1;
    this.add({ kind: "opened", link: this.#link });
    const cursor = resume === undefined ? {} : { resume: { epoch, revision: resume, mark: markOf(resume) } };
    this.add({
      kind: "heard",
      link: this.#link,
      message: { type: "hello", instance: "a".repeat(32), sdk: "test", ...cursor },
      atMs: this.#nowMs,
    });
    return this.sent({
      type: "hello",
      epoch,
      revision,
      mark: markOf(revision),
      heartbeatMs: 1_000,
      leaseMs: LEASE_MS,
      outcomesThrough: 0,
      limits: { maxFrameBytes: 1_000_000, maxBatchItems: 500 },
    });
  }

  sent(message: ServerMessage | null): this {
    return this.add({ kind: "sent", link: this.#link, message, atMs: this.#nowMs });
  }

  snapshot(revision: number, documents: RuntimeDocument[], epoch = EPOCH): this {
    return this.sent({ type: "snapshot", epoch, revision, mark: markOf(revision), documents });
  }

  delta(from: number, revision: number, put: RuntimeDocument[]): this {
    return this.sent({ type: "delta", from, revision, mark: markOf(revision), put, delete: [] });
  }

  applied(revision: number): this {
    const message = { type: "applied", revision, appliedAfterMs: 0 } as const;
    return this.add({ kind: "heard", link: this.#link, message, atMs: this.#nowMs });
  }

  asks(): this {
    this.#asked += 1;
    return this.add({
      kind: "heard",
      link: this.#link,
      message: { type: "lease", id: this.#asked },
      atMs: this.#nowMs,
    });
  }

  granted(revision: number): this {
    return this.sent({ type: "lease", id: this.#asked, revision });
  }

  polled(nonce: string, after: number | null): this {
    const cursor = after === null ? null : { epoch: EPOCH, revision: after, mark: markOf(after) };
    return this.add({ kind: "polled", nonce, cursor, atMs: this.#nowMs });
  }

  pollAnswered(nonce: string, revision: number, documents: RuntimeDocument[] | null): this {
    const at = { epoch: EPOCH, revision, mark: markOf(revision) };
    const snapshot = documents && { type: "snapshot" as const, ...at, documents };
    return this.add({ kind: "pollAnswered", nonce, head: { ...at, leaseMs: LEASE_MS }, snapshot });
  }

  serves(version: string, reason: string | null = null): this {
    const began = this.checker.begin(this.#nowMs);
    return this.add({ kind: "answered", began, answer: { kind: "version", alias: "support-agent", version, reason } });
  }

  allows(attributes: Record<string, string> = {}): this {
    const began = this.checker.begin(this.#nowMs);
    return this.add({
      kind: "answered",
      began,
      answer: { kind: "writeAllowed", switchKey: "writes_disabled", attributes },
    });
  }

  says(status: "ready" | "stale" | "error"): this {
    return this.add({ kind: "status", status, atMs: this.#nowMs });
  }
}

/** In step at revision 1, with a live lease: the candidate has half of the traffic and writes are allowed. */
const inStep = () => new History().connects(1).snapshot(1, [alias(), killSwitch()]).applied(1).asks().granted(1);

const ROLLBACK = [rolledBack(), killSwitch("agent=support-agent")];

describe("a correct history is not blamed", () => {
  test("serving, a change, and what is withdrawn served until it is acknowledged", () => {
    const history = inStep().says("ready").serves(CANDIDATE, "SPLIT").serves(STABLE, "SPLIT").allows();
    history.delta(1, 2, ROLLBACK).serves(CANDIDATE, "SPLIT").allows().applied(2).serves(STABLE, "STATIC");
    expect(history.allows({ agent: "other" }).rules).toEqual([]);
  });

  test("an outage: stable without a lease, the candidate again with one", () => {
    const history = inStep().passes(LEASE_MS).says("stale").serves(STABLE, "STALE").serves(STABLE);
    history.connects(1, EPOCH, 1).asks().granted(1).says("ready").serves(CANDIDATE, "SPLIT");
    expect(history.rules).toEqual([]);
  });

  test("a server of another history may serve what the first one withdrew", () => {
    const history = inStep().delta(1, 2, ROLLBACK).applied(2);
    history.connects(1, OTHER_EPOCH).snapshot(1, [alias(), killSwitch()], OTHER_EPOCH).applied(1).asks().granted(1);
    expect(history.serves(CANDIDATE, "SPLIT").allows().rules).toEqual([]);
  });

  test("a server that says in its hello that it went back", () => {
    const history = inStep().delta(1, 9, ROLLBACK).applied(9);
    history.connects(4).snapshot(4, [alias(), killSwitch()]).applied(4).asks().granted(4);
    expect(history.serves(CANDIDATE, "SPLIT").rules).toEqual([]);
  });

  test("a process that begins with what its cache kept: older than what was acknowledged, stable and STALE", () => {
    const history = inStep().delta(1, 2, ROLLBACK).applied(2).says("ready").add({ kind: "restarted" });
    history.serves(STABLE, "STALE").says("stale").says("error").connects(2, EPOCH, 1).delta(1, 2, ROLLBACK).applied(2);
    expect(history.asks().granted(2).says("ready").serves(STABLE, "STATIC").rules).toEqual([]);
  });

  test("an evaluation that began before the acknowledgement and ended after it", () => {
    const history = inStep();
    const began = history.checker.begin(1_000);
    history.delta(1, 2, ROLLBACK).applied(2);
    const answer = { kind: "version", alias: "support-agent", version: CANDIDATE, reason: "SPLIT" } as const;
    expect(history.add({ kind: "answered", began, answer }).rules).toEqual([]);
  });

  test("polling: a snapshot, nothing new, and the right to serve that each brings", () => {
    const history = new History().polled("a", null).pollAnswered("a", 1, [alias(), killSwitch()]);
    history
      .polled("b", 1)
      .serves(CANDIDATE, "SPLIT")
      .passes(LEASE_MS - 1)
      .pollAnswered("b", 1, null);
    expect(history.says("ready").serves(CANDIDATE).allows().rules).toEqual([]);
  });
});

describe("a planted defect is reported", () => {
  test("a version without weight after its acknowledgement", () => {
    expect(inStep().delta(1, 2, ROLLBACK).applied(2).serves(CANDIDATE, "SPLIT").rules).toEqual(["withdrawn_version"]);
  });

  test("a version that was rolled back although it still has weight", () => {
    const revoked = alias({ revision: 2, revoked: { [CANDIDATE]: "finish" } });
    expect(inStep().delta(1, 2, [revoked]).applied(2).serves(CANDIDATE).rules).toEqual(["withdrawn_version"]);
  });

  test("a version that no server ever named", () => {
    expect(inStep().serves("support-agent@9.9.9").rules).toEqual(["withdrawn_version"]);
  });

  test("a write under a switch whose engagement was acknowledged", () => {
    const history = inStep().delta(1, 2, ROLLBACK).applied(2);
    expect(history.allows({ agent: "support-agent" }).allows().rules).toEqual(["engaged_switch", "engaged_switch"]);
  });

  test("a write under a switch that was never sent", () => {
    expect(new History().connects(1).snapshot(1, [alias()]).applied(1).asks().granted(1).allows().rules).toEqual([
      "engaged_switch",
    ]);
  });

  test("an old snapshot of the same history, taken for a new one", () => {
    const history = inStep().delta(1, 2, ROLLBACK).applied(2).snapshot(1, [alias(), killSwitch()]);
    expect(history.applied(1).serves(CANDIDATE).rules).toEqual(["unsent_acknowledged", "withdrawn_version"]);
  });

  test("a snapshot of another history than the connection's", () => {
    const history = inStep().snapshot(2, [alias({ revision: 7 })], OTHER_EPOCH);
    expect(history.applied(2).rules).toEqual(["unsent_acknowledged"]);
  });

  test("a delta that does not follow", () => {
    expect(inStep().delta(0, 2, []).applied(2).rules).toEqual(["unsent_acknowledged"]);
    expect(inStep().delta(1, 1, ROLLBACK).applied(1).serves(CANDIDATE).rules).toEqual([]);
  });

  test("whatever follows a frame that ends the connection", () => {
    expect(inStep().sent(null).delta(1, 2, []).applied(2).rules).toEqual(["unsent_acknowledged"]);
  });

  test("a way back to what it had left behind", () => {
    const history = inStep().delta(1, 2, ROLLBACK).applied(2);
    expect(history.connects(2, EPOCH, 1).rules).toEqual(["went_back"]);
  });

  test("a poll's answer that its delta overtook", () => {
    const history = inStep().polled("a", 1).delta(1, 2, ROLLBACK).applied(2);
    history.pollAnswered("a", 1, [alias(), killSwitch()]).serves(CANDIDATE);
    expect(history.rules).toEqual(["withdrawn_version"]);
  });

  test("the candidate, or an answer that is not STALE, without a lease", () => {
    const history = inStep().passes(LEASE_MS).serves(CANDIDATE).serves(STABLE, "STATIC").serves(STABLE, "STALE");
    expect(history.rules).toEqual(["without_lease", "without_lease"]);
  });

  test("a candidate, or a write, from a cache", () => {
    const history = inStep().add({ kind: "restarted" }).serves(CANDIDATE).allows();
    expect(history.rules).toEqual(["without_lease", "without_lease"]);
  });

  test("a write without a lease, and none where the switch keeps what it last knew", () => {
    expect(inStep().passes(LEASE_MS).allows().rules).toEqual(["without_lease"]);
    const keeps = { ...killSwitch(), failSafe: { engage: false, afterMs: 0 } };
    expect(inStep().delta(1, 2, [keeps]).applied(2).passes(LEASE_MS).allows().rules).toEqual([]);
    expect(new History().connects(1).snapshot(1, [keeps]).applied(1).allows().rules).toEqual([]);
    const later = { ...killSwitch(), failSafe: { engage: true, afterMs: 50 } };
    const history = inStep()
      .delta(1, 2, [later])
      .applied(2)
      .passes(LEASE_MS + 49);
    expect(history.allows().rules).toEqual([]);
    expect(history.passes(1).allows().rules).toEqual(["without_lease"]);
  });

  test("a lease that nobody asked for, or of a revision that the runtime does not hold", () => {
    const unasked = inStep().passes(LEASE_MS).sent({ type: "lease", id: 99, revision: 1 });
    expect(unasked.allows().rules).toEqual(["without_lease"]);
    expect(inStep().passes(LEASE_MS).asks().granted(2).allows().rules).toEqual(["without_lease"]);
  });

  test("the answer to an earlier question, taken for that to a later one", () => {
    const history = inStep().polled("a", 1).passes(LEASE_MS).polled("b", 1).pollAnswered("a", 1, null);
    expect(history.allows().rules).toEqual(["without_lease"]);
    expect(history.pollAnswered("b", 1, null).allows().rules).toEqual(["without_lease"]);
  });

  test("a status that is said twice, an error without its grace, or ready without a lease", () => {
    expect(inStep().says("ready").says("error").rules).toEqual(["false_status"]);
    expect(inStep().says("ready").says("stale").says("error").rules).toEqual([]);
    expect(inStep().says("ready").says("ready").rules).toEqual(["false_status"]);
    expect(inStep().says("stale").passes(LEASE_MS).says("ready").rules).toEqual(["false_status"]);
  });

  test("an exception", () => {
    expect(inStep().add({ kind: "escaped", where: "a run", error: "TypeError" }).rules).toEqual(["escaped"]);
  });
});
