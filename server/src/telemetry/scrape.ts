/**
 * What is read off the server when somebody asks for its metrics, so that nothing has to be kept up to date in between.
 */
import { weightOf } from "@flagback/core";
import { isDrillName, TOTAL_WEIGHT } from "@flagback/schemas";
import type { Gauge } from "prom-client";
import type { DrillBook } from "../drills/drill-book.ts";
import type { Engine } from "../engine/engine.ts";
import type { Evaluator } from "../evaluator/evaluator.ts";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import type { DiskHealth } from "../store/disk-health.ts";
import type { Store } from "../store/store.ts";
import type { Hub } from "../stream/hub.ts";
import { type ChangeWatch, ROLLBACK_BY } from "./change-watch.ts";
import { Labels, MAX_LABELLED_SCOPES, MAX_LABELLED_SWITCHES, OTHER, realAliases } from "./labels.ts";
import type { Metrics } from "./metrics.ts";

export interface ScrapeParts {
  readonly engine: Engine;
  readonly book: LedgerBook;
  readonly evaluator: Evaluator;
  readonly hub: Hub;
  readonly store: Store;
  readonly health: DiskHealth;
  readonly changes: ChangeWatch;
  readonly drills: Pick<DrillBook, "lastEnds">;
  readonly metrics: Metrics;
}

/** The metrics in Prometheus' text format. */
export async function scrape(parts: ScrapeParts): Promise<string> {
  const { store, health, metrics } = parts;
  await read(metrics.outboxDepth, () => store.outboxDepth());
  await read(metrics.deadLetters, () => store.deadLetters());
  await read(metrics.databaseBytes, () => store.sizeBytes());
  await read(metrics.diskFreeBytes, () => store.freeBytes());
  metrics.databaseWritable.set((await health.check()) === undefined ? 1 : 0);
  // Without a pause from here on, so that nobody reads a metric that is half counted.
  const labels = new Labels(parts.engine.world);
  readAliases(parts, labels);
  readDrills(parts, labels);
  readOutcomes(parts, labels);
  readKillSwitches(parts);
  readStream(parts);
  return metrics.registry.metrics();
}

/** What a failing disk does not tell keeps its last value: on that day the other metrics are needed most. */
async function read(gauge: Gauge, ask: () => Promise<number>): Promise<void> {
  const value = await ask().catch(() => undefined);
  if (value !== undefined) gauge.set(value);
}

function readAliases({ engine, evaluator, metrics, changes }: ScrapeParts, labels: Labels): void {
  const { candidateWeight, evidence, evidenceRatio, rolloutState, rolloutHeld, openDecisions, rollbacks } = metrics;
  const read = [candidateWeight, evidence, evidenceRatio, rolloutState, rolloutHeld, openDecisions, rollbacks];
  for (const metric of read) metric.reset();
  for (const { name, allocation, candidates, rollout } of realAliases(engine.world)) {
    const alias = labels.alias(name);
    // From 0, so that the first one is an increase.
    const counted = changes.rollbacksOf(name);
    for (const by of ROLLBACK_BY) rollbacks.inc({ alias, by }, counted[by]);
    openDecisions.inc({ alias }, rollout?.openDecision === undefined ? 0 : 1);
    if (alias === OTHER) continue;
    for (const id of candidates) {
      candidateWeight.inc({ alias, version: labels.version(name, id) }, weightOf(allocation, id) / TOTAL_WEIGHT);
    }
    if (!rollout) continue;
    rolloutState.set({ alias, state: rollout.state }, 1);
    if (rollout.hold) rolloutHeld.set({ alias, cause: rollout.hold.cause }, 1);
    const standing = evaluator.standingOf(name);
    if (!standing) continue;
    const version = labels.version(name, rollout.candidate);
    evidenceRatio.set({ alias, version }, standing.verdict.logE / standing.verdict.threshold);
    for (const { guardrail, logE } of standing.verdict.guardrails) evidence.set({ alias, version, guardrail }, logE);
  }
}

/** From 0 for an alias that has a policy and has never been drilled: then the last drill is long ago. */
function readDrills({ engine, drills, metrics }: ScrapeParts, labels: Labels): void {
  metrics.lastDrill.reset();
  for (const { name, policy } of realAliases(engine.world)) {
    const alias = labels.alias(name);
    const { passMs, failMs } = drills.lastEnds(name);
    if (alias === OTHER || (policy === null && passMs === 0 && failMs === 0)) continue;
    metrics.lastDrill.set({ alias, result: "pass" }, passMs / 1_000);
    metrics.lastDrill.set({ alias, result: "fail" }, failMs / 1_000);
  }
}

function readOutcomes({ book, metrics }: ScrapeParts, labels: Labels): void {
  metrics.outcomes.reset();
  for (const { alias, version, counts } of book.reported.all()) {
    if (isDrillName(alias)) continue;
    const names = { alias: labels.alias(alias), version: labels.version(alias, version) };
    for (const [status, n] of Object.entries(counts)) metrics.outcomes.inc({ ...names, status }, n);
  }
  metrics.unwrittenOutcomes.set(book.unwrittenOutcomes);
}

function readKillSwitches({ engine, metrics }: ScrapeParts): void {
  metrics.killSwitchEngaged.reset();
  const real = [...engine.world.killSwitches.values()].filter(({ key }) => !isDrillName(key));
  real.forEach(({ key, engaged }, index) => {
    const label = index < MAX_LABELLED_SWITCHES ? key : OTHER;
    engaged.forEach(({ scope }, place) => {
      metrics.killSwitchEngaged.set({ key: label, scope: place < MAX_LABELLED_SCOPES ? scope : OTHER }, 1);
    });
  });
}

function readStream({ engine, hub, metrics }: ScrapeParts): void {
  for (const [state, n] of Object.entries(hub.countRuntimes())) metrics.runtimes.set({ state }, n);
  metrics.revision.set(engine.history.head.revision);
  const oldest = hub.propagation.oldestWaiting();
  metrics.propagationLag.set((oldest?.ageMs ?? 0) / 1_000);
  metrics.propagationWaiting.set(oldest?.runtimes ?? 0);
}
