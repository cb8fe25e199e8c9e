/** The ledgers as the store kept them, in memory again. */
import { addCounts } from "@flagback/core";
import type { Loaded } from "../store/store.ts";
import { type Counting, keepRow, rolloutOf } from "./counting.ts";
import type { Instances } from "./instances.ts";
import { checkRunId } from "./recent-runs.ts";
import { noteRun } from "./rollout-ledger.ts";

/** Fills an empty `counting` and empty `instances`. */
export function loadLedger(counting: Counting, instances: Instances, loaded: Loaded): void {
  loadCounts(counting, loaded);
  loadRuns(counting, loaded);
  for (const { instance, tokenId, through, lostSince } of loaded.instances) {
    const state = instances.open(instance, tokenId, counting.clock.startTick);
    Object.assign(state, { through, durableThrough: through, lostSince });
  }
  loadAssignments(counting, instances, loaded);
}

function loadCounts(counting: Counting, { ledgers, totals, counts }: Loaded): void {
  const { rollouts, world, clock } = counting;
  for (const { ledger, ...key } of ledgers) rollouts.add(key, { ...ledger, ticks: [] });
  for (const { version, totals: of, ...key } of totals)
    Object.assign(rolloutOf(counting, key).tallyOf(version).totals, of);
  for (const rollout of rollouts.all()) {
    const current = world().aliases.get(rollout.key.alias)?.rollout;
    if (current) rollout.stageBegan(current.stage);
  }
  for (const { row, isHeld, ...key } of counts) {
    const rollout = rolloutOf(counting, key);
    addCounts(isHeld ? rollout.heldLedger(row.tick) : rollout.ledger, row);
  }
  // A stage may have begun in the very last moment before the stop, without its thresholds in the ledger.
  for (const rollout of rollouts.all()) {
    const { alias, rolloutNumber } = rollout.key;
    const current = world().aliases.get(alias)?.rollout;
    if (current?.rolloutNumber !== rolloutNumber) continue;
    rollout.judgeBy(current.policy, current.stage, clock.now());
  }
}

/** What was reported lately, so that it is not counted again. */
function loadRuns({ rollouts, runs }: Counting, loaded: Loaded): void {
  // First, so that where there are too many they make room for runs.
  for (const { alias, runIds = [] } of loaded.checks) for (const id of runIds) runs.add(alias, checkRunId(id), "");
  for (const { runIds, version, ...key } of loaded.runs) {
    const tally = rollouts.find(key)?.tallyOf(version);
    for (const runId of runIds) {
      runs.add(key.alias, runId, "");
      if (tally) noteRun(tally, runId);
    }
  }
}

/** Assignments with runs left to settle; their instances are loaded before them. */
function loadAssignments(counting: Counting, instances: Instances, { assignments }: Loaded): void {
  for (const { rolloutNumber, ...row } of assignments) {
    const state = instances.find(row.instance);
    if (!state) continue;
    const rollout = rolloutOf(counting, { alias: row.alias, rolloutNumber });
    const tally = rollout.tallyOf(row.version);
    const cell = tally.arm && rollout.cellOf(tally.arm, row.instance, row.tick);
    keepRow(state, { ...row, rollout, tally, cell, isClosed: false, isStored: true });
  }
}
