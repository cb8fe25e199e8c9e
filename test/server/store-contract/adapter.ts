/**
 * What the contract suite needs of a store to be tested, and the documents that its tests write.
 */
import type { CheckedAlias, Counts } from "@flagback/core";
import type {
  Alias,
  AskedDecision,
  AuditEvent,
  Decision,
  Drill,
  KillSwitch,
  StoredFeedback,
  Trigger,
  Version,
} from "@flagback/schemas";
import { NO_LEDGER_WRITES } from "../../../server/src/store/ledger-writes.ts";
import type { Commit, Store, StoredToken, StoredWebhook } from "../../../server/src/store/store.ts";

/** Where a write can be made to fail: before anything of it, after it began, and when all of it is done but the commit. */
export const MOMENTS = ["before-begin", "after-begin", "before-commit"] as const;
export type Moment = (typeof MOMENTS)[number];

/** One database, for one test. */
export interface Adapter {
  /** Opens it, also again after it was closed. */
  readonly open: () => Store;
  /** From now on every write fails at that moment, as on a broken disk; `undefined` mends it. */
  readonly failAt: (moment: Moment | undefined) => void;
}

/** Makes an adapter with a database of its own, which goes with the test; or of a copy of another, which `copyTo` made. */
export type MakeAdapter = (copy?: string) => Promise<Adapter>;

export const AT = "2026-01-02T03:04:05.678Z";
export const LATER = "2026-01-02T03:04:06.000Z";
export const ALL = 10_000;
const DIGEST = "ab".repeat(32);

/** The keys that tests use for requests that may be repeated. */
const REQUEST_KEYS = ["once", "twice"];

/** All that can be read of a store, as its next start finds it. */
export async function everythingIn(adapter: Adapter) {
  const store = adapter.open();
  try {
    const loaded = store.load({ history: ALL, runs: ALL });
    const decisions = await Promise.all(loaded.decisions.map(({ id }) => store.readDecision(id)));
    const due = await Promise.all(loaded.webhooks.map(({ id }) => store.dueAlerts(id, Number.MAX_SAFE_INTEGER, ALL)));
    const deliveries = await Promise.all(
      loaded.webhooks.map(({ id }) => store.readDeliveries({ webhookId: id, limit: ALL })),
    );
    return {
      ...loaded,
      decided: decisions,
      due,
      deliveries,
      audit: await store.readAudit({ after: 0, limit: ALL }),
      incidents: await store.readIncidents(),
      feedback: await store.readFeedback({ limit: ALL }),
      outboxDepth: await store.outboxDepth(),
      requests: await Promise.all(REQUEST_KEYS.map((key) => store.findIdempotent("t", key))),
    };
  } finally {
    store.close();
  }
}

export const NO_COUNTS: Counts = {
  assigned: 0,
  settled: 0,
  missing: 0,
  lost: 0,
  excluded: { cancelled: 0, blocked: 0, client: 0, policy: 0, isDefault: 0 },
  guardrails: [],
};

/** A change that changes nothing but what is given; it always has its audit row. */
export function change(parts: Partial<Commit> = {}): Commit {
  return {
    at: AT,
    aliases: [],
    versions: [],
    killSwitches: [],
    flags: [],
    triggers: [],
    releases: [],
    deleted: [],
    incidents: [],
    asked: [],
    stops: [],
    audit: [audited("change")],
    alerts: [],
    ledger: NO_LEDGER_WRITES,
    ...parts,
  };
}

export function asked(name: string): AskedDecision {
  return {
    id: name.repeat(64),
    alias: "agent",
    candidate: "agent@2",
    target: "agent@1",
    rolloutNumber: 1,
    stage: "canary",
    round: 1,
    state: "open",
    reason: "sla_breach",
    attribution: "candidate",
    leading: "error_rate",
    summary: "3 of 3 runs failed.",
    evidence: [],
    lastRunIds: ["run-1"],
    input: { judged: "on this" },
    openedAt: AT,
    deadline: LATER,
    atDeadline: "rollback",
    engaged: [],
  };
}

export function audited(action: string, parts: Partial<AuditEvent> = {}): Omit<AuditEvent, "id"> {
  return {
    timestamp: AT,
    actor: { kind: "token", name: "ann", id: "t" },
    action,
    target: "alias:agent",
    summary: `It was ${action}.`,
    ...parts,
  };
}

export function version(id: string, text = "Be kind."): Version {
  return {
    id,
    alias: "agent",
    kind: "prompt",
    payload: { prompt: text },
    digest: DIGEST,
    labels: {},
    notes: "",
    createdAt: AT,
    createdBy: "ann",
  };
}

export function alias(name: string, rolloutNumber = 0): Alias {
  return {
    name,
    salt: "salt",
    allocation: [],
    stable: null,
    candidates: [],
    policy: null,
    locks: [],
    rollout: null,
    rolloutNumber,
    revision: 1,
    edit: 1,
  };
}

export function killSwitch(key: string, revision: number): KillSwitch {
  return { key, engaged: [], failSafe: { engage: true, afterMs: 0 }, revision, edit: revision };
}

export function revised(revision: number): NonNullable<Commit["history"]> {
  return {
    revision,
    mark: revision.toString(16).padStart(16, "0"),
    touched: [{ kind: "killSwitch", key: "writes_disabled" }],
  };
}

/** A change's rollback. */
export function stopped(id: string, openedAt = AT): Pick<Commit, "stops"> {
  return { stops: [stop(id, openedAt)] };
}

/** A rollback's decision and the incident that it opens. */
export function stop(id: string, openedAt = AT): Commit["stops"][number] {
  const decision: Decision = {
    id: id.padEnd(64, "0"),
    alias: "agent",
    candidate: "agent@2",
    candidateDigest: DIGEST,
    rolloutNumber: 1,
    kind: "stop",
    reason: "error_spike",
    attribution: "candidate",
    at: AT,
    evidence: [],
    input: { ticks: [1, 2, 3] },
  };
  return {
    decision,
    incident: {
      id: `inc_${id}`,
      alias: "agent",
      candidate: "agent@2",
      target: "agent@1",
      rolloutNumber: 1,
      stage: "canary",
      reason: "error_spike",
      decisionId: decision.id,
      state: "open",
      openedAt,
      revision: 1,
      evidence: [],
      timeline: [],
      notes: [],
    },
    detectMs: 250,
    decideMs: 1.5,
    outcomesToDecision: 12,
  };
}

export function token(id: string, parts: Partial<StoredToken> = {}): StoredToken {
  return {
    id,
    role: "viewer",
    name: id,
    aliases: [],
    createdAt: AT,
    createdBy: "ann",
    secretHash: "cd".repeat(32),
    ...parts,
  };
}

export function webhook(id: string): StoredWebhook {
  return {
    id,
    url: `https://example.com/${id}`,
    format: "standard",
    createdAt: AT,
    secrets: [{ secret: "whsec_c2VjcmV0" }],
  };
}

export function drill(number: number, parts: Partial<Drill> = {}): Drill {
  return {
    id: `drill_${number}`,
    number,
    alias: "agent",
    shadow: "drill.agent",
    kind: "prompt",
    candidate: "agent@2",
    target: "agent@1",
    candidateDigest: DIGEST,
    targetDigest: DIGEST,
    isStandIn: false,
    faults: ["errors"],
    adjustments: [],
    targetMs: 300_000,
    state: "running",
    startedAt: AT,
    startedBy: "ann",
    steps: [],
    times: [],
    incidents: [],
    ...parts,
  };
}

export function trigger(id: string): Trigger {
  return { id, format: "plain", action: { kind: "engage", key: "writes_disabled", scope: "*" }, labels: {}, edit: 1 };
}

export function checked(alias: string, checks: number): CheckedAlias {
  const version = { version: `${alias}@2`, checks, failures: 1, failuresInARow: 1, lastAt: AT, lastFailure: "timeout" };
  return { alias, rolloutNumber: 1, versions: [version] };
}

export function feedback(id: string, parts: Partial<StoredFeedback> = {}): StoredFeedback {
  return { id, runId: `run-${id}`, alias: "agent", version: "agent@1", quality: 1, receivedAt: AT, ...parts };
}

export function request(key: string, answer: unknown = { ok: true }) {
  return { tokenId: "t", key, bodyHash: "ef".repeat(32), answer };
}
