/**
 * Follows each change from its commit until every runtime has it, and each incident until its kill switches are released.
 * Rollbacks that are rehearsed are in no metric of rollbacks.
 */
import type { Change, World } from "@flagback/core";
import { isDrillName } from "@flagback/schemas";
import type { Attributes } from "@opentelemetry/api";
import type { Logger } from "pino";
import type { Committed } from "../engine/engine.ts";
import type { EndedSpread } from "../stream/propagation.ts";
import type { Metrics, RollbackPhase } from "./metrics.ts";
import { beginSpan, type Span } from "./tracing.ts";

/** What the log names a change by, on each line that belongs to it. */
interface ChangeIds {
  readonly requestId?: string;
  readonly auditId: number;
  readonly revision?: number;
  readonly decisionId?: string;
  readonly incident?: string;
  readonly coordinationId?: string;
}

export class ChangeWatch {
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #rollbacks = new Map<string, Record<RollbackBy, number>>();
  /** Changes on their way, by revision. */
  readonly #spreading = new Map<
    number,
    { readonly ids: ChangeIds; readonly span: Span; readonly isRollback: boolean }
  >();
  /** Since when each incident keeps a kill switch engaged, in milliseconds since 1970. */
  #engagedSince: ReadonlyMap<string, number>;

  constructor(parts: {
    readonly metrics: Metrics;
    readonly log: Logger;
    readonly now: () => number;
    readonly world: World;
  }) {
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#now = parts.now;
    this.#engagedSince = engagedByIncidents(parts.world);
  }

  /** Rollbacks of the alias since the start. */
  rollbacksOf(alias: string): Readonly<Record<RollbackBy, number>> {
    return this.#rollbacks.get(alias) ?? NO_ROLLBACKS;
  }

  /** `world` is as of after the change. */
  committed({ change, history, actor, auditId, commitMs, options }: Committed, world: World): void {
    const ids: ChangeIds = {
      requestId: options.requestId,
      auditId,
      revision: history?.revision,
      ...(change.coordinated
        ? { coordinationId: change.coordinated.id }
        : { decisionId: change.stops[0]?.decision.id, incident: change.stops[0]?.incident.id }),
    };
    this.#log.info({ action: change.action, target: change.target, actor: actor.name, ...ids }, change.summary);
    this.#metrics.changes.inc({ action: change.action, by: actor.kind });
    for (const { decision } of change.stops) {
      const { alias } = decision;
      if (isDrillName(alias)) continue;
      const counted = this.#rollbacks.get(alias) ?? { ...NO_ROLLBACKS };
      this.#rollbacks.set(alias, counted);
      counted[rollbackBy(actor.kind)] += 1;
      const { detectMs, decideMs } = options;
      if (detectMs !== undefined) this.#observe("detect", detectMs);
      if (decideMs !== undefined) this.#observe("decide", decideMs);
      this.#observe("commit", commitMs);
    }
    const attributes = attributesOf(change, ids);
    const commit = beginSpan("flagback.commit", { startTime: this.#now() - commitMs, attributes }, options.trace);
    commit.span.end();
    if (history) {
      const { span } = beginSpan("flagback.propagate", { attributes }, commit.context);
      const isRollback = change.stops.some(({ decision }) => !isDrillName(decision.alias));
      this.#spreading.set(history.revision, { ids, span, isRollback });
    }
    if (change.killSwitches.length > 0) this.#followIncidents(world);
  }

  /** Nobody is waited for any more, or the change is too old to be followed further. */
  spreadEnded({ revision, runtimes, acknowledged, lapsed, ms, hasConverged }: EndedSpread): void {
    const spreading = this.#spreading.get(revision);
    this.#spreading.delete(revision);
    if (!spreading) return;
    const { ids, span, isRollback } = spreading;
    span.setAttributes({
      "flagback.runtimes": runtimes,
      "flagback.acknowledged": acknowledged,
      "flagback.lapsed": lapsed,
      "flagback.converged": hasConverged,
    });
    span.end();
    if (!hasConverged || runtimes === 0) return;
    if (isRollback) this.#observe("converge", ms);
    const level = (ids.decisionId ?? ids.coordinationId) === undefined ? "debug" : "info";
    this.#log[level](
      { ...ids, runtimes, acknowledged, lapsed, ms: Math.round(ms) },
      `applied by ${acknowledged} of ${runtimes} runtimes`,
    );
  }

  /** Ends what is still on its way. */
  close(): void {
    for (const { span } of this.#spreading.values()) span.setAttribute("flagback.converged", false).end();
    this.#spreading.clear();
  }

  #followIncidents(world: World): void {
    const engaged = engagedByIncidents(world);
    for (const [incident, sinceMs] of this.#engagedSince) {
      if (!engaged.has(incident)) this.#observe("recover", Math.max(0, this.#now() - sinceMs));
    }
    this.#engagedSince = engaged;
  }

  #observe(phase: RollbackPhase, ms: number): void {
    this.#metrics.rollbackSeconds.observe({ phase }, ms / 1_000);
  }
}

function attributesOf(change: Change, ids: ChangeIds): Attributes {
  return {
    "flagback.action": change.action,
    "flagback.target": change.target,
    "flagback.audit_id": ids.auditId,
    "flagback.revision": ids.revision,
    "flagback.decision_id": ids.decisionId,
    "flagback.incident": ids.incident,
  };
}

/** Who commanded a rollback: the brain, a person, or a monitoring system outside. */
export const ROLLBACK_BY = ["brain", "person", "trigger"] as const;
type RollbackBy = (typeof ROLLBACK_BY)[number];

function rollbackBy(kind: Committed["actor"]["kind"]): RollbackBy {
  return kind === "brain" || kind === "trigger" ? kind : "person";
}

const NO_ROLLBACKS = { brain: 0, person: 0, trigger: 0 };
const INCIDENT = "incident:";

/** Incidents that keep a kill switch engaged, with since when; not those of drills. */
function engagedByIncidents(world: World): ReadonlyMap<string, number> {
  const real = [...world.killSwitches.values()].filter(({ key }) => !isDrillName(key));
  const entries = real.flatMap(({ engaged }) => engaged);
  return new Map(
    entries.filter(({ owner }) => owner.startsWith(INCIDENT)).map(({ owner, at }) => [owner, Date.parse(at)]),
  );
}
