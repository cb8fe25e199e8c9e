/**
 * One runtime can't decide alone (DESIGN 8, docs/decisions/0006): a stop also needs half the log evidence from all the other
 * runtimes, whichever one is left out, with its outcomes, good and bad, on both arms. The evidence of the others is what a
 * ledger without that runtime would hold; the prefix keeps it for {@link MAX_RUNTIMES} runtimes, and those that come later
 * share {@link SHARED_BUCKETS} buckets, in which they count as one. Computed only where a stop is near, and when ticks freeze.
 */
import { murmur3 } from "../allocation/murmur3.ts";
import { ARMS, type Arm, addTo, type Counts, cloneCounts } from "./counts.ts";
import { logSpent } from "./detector.ts";
import { addLumps, badOf, endDetectors, logEOf, type Plan, stepDetectors } from "./guardrail-test.ts";
import { isClosed, type Ledger } from "./ledger.ts";
import { type ArmCounts, runtimeIn, type TickCounts } from "./ledger-ticks.ts";
import { type PlanSchedule, plansAt } from "./plan-schedule.ts";
import { cloneDetectors, cloneRuntimeState, type LedgerPrefix, type RuntimeState } from "./prefix.ts";
import type { Carrier } from "./verdict.ts";

export const MAX_RUNTIMES = 256;
export const SHARED_BUCKETS = 16;
/** The others alone must reach this part of the log evidence that a stop needs. */
const OTHERS_PART = 0.5;
/** A runtime with more than this part of the bad counts is named in the verdict. */
const CARRIER_SHARE = 0.2;
/** A runtime without an assignment for so long no longer counts as one that could confirm or deny; ten minutes. */
const PRESENCE_TICKS = 600;

/** A replay of the others of every runtime, as far as it was needed. */
export interface Others {
  readonly ledger: Ledger;
  readonly schedule: PlanSchedule;
  /** For what no threshold changes: kinds, shares, and whether it is tested. */
  readonly plans: readonly Plan[];
  /** The prefix that the replay began at. */
  readonly base: Pick<LedgerPrefix, "throughTick" | "assigned" | "guardrails">;
  readonly own: Map<string, Slot>;
  readonly shared: Map<number, Slot>;
  /** Open ticks whose rows are booked to their slots. */
  booked: number;
}

interface Slot {
  readonly state: RuntimeState;
  /** Candidate runs of the others in the ticks gone through. */
  othersAssigned: number;
  /** Index of the open tick that comes next, or is half done: multiplied in, without its restarts. */
  next: number;
  isOpen: boolean;
  throughTick: number;
}

export interface OthersVerdict {
  readonly carriers: Carrier[];
  /** The first runtime, heaviest first, without which too little evidence is left. */
  readonly heldBackBy?: string;
}

/** Starts where the prefix stands. It is copied as far as needed, so the prefix may go on. */
export function newOthers(ledger: Ledger, schedule: PlanSchedule): Others {
  const { throughTick, assigned, guardrails, runtimes } = ledger.prefix;
  const base = { throughTick, assigned: { ...assigned }, guardrails: guardrails.map(copyOfDetectors) };
  const { plans } = schedule[0];
  const others: Others = { ledger, schedule, plans, base, own: new Map(), shared: new Map(), booked: 0 };
  for (const state of runtimes) addSlot(others, cloneRuntimeState(state));
  return others;

  function copyOfDetectors(state: LedgerPrefix["guardrails"][number]): LedgerPrefix["guardrails"][number] {
    return { ...state, ...cloneDetectors(state) };
  }
}

/**
 * Whether the others of every runtime confirm, at the open tick `index`, the evidence of the guardrails in `members`, of
 * which `leading` weighs most. Waived where one runtime carries the alias.
 */
export function askOthers(
  others: Others,
  index: number,
  members: readonly number[],
  leading: number,
  threshold: number,
): OthersVerdict {
  book(others, index);
  const slots = [...others.own.values(), ...others.shared.values()];
  const now = (others.ledger.ticks[index] as TickCounts).tick;
  const present = slots.filter(({ state }) => state.lastTick > now - PRESENCE_TICKS);
  const isWaived = present.length <= 1;
  const bad = slots.map(({ state }) => state.bad[leading] as number);
  const total = bad.reduce((sum, each) => sum + each, 0);
  const order = slots.map((slot, s) => ({ slot, share: total === 0 ? 0 : (bad[s] as number) / total }));
  order.sort((a, b) => b.share - a.share || (nameOf(a.slot.state) < nameOf(b.slot.state) ? -1 : 1));

  const carriers: Carrier[] = [];
  for (const { slot, share } of order) {
    if (isWaived && share <= CARRIER_SHARE) break;
    const runtime = nameOf(slot.state);
    const logEWithout = logEWithoutSlot(others, slot, index, members);
    if (share > CARRIER_SHARE) carriers.push({ runtime, share, logEWithout });
    if (!isWaived && logEWithout < OTHERS_PART * threshold) return { carriers, heldBackBy: runtime };
  }
  return { carriers };
}

/** Moves every runtime's others through all open ticks up to `throughTick`: what the prefix keeps of them. */
export function freezeOthers(others: Others, ticks: number, throughTick: number): RuntimeState[] {
  if (ticks > 0) book(others, ticks - 1);
  const slots = [...others.own.values(), ...others.shared.values()];
  for (const slot of slots) {
    if (ticks > 0) {
      advance(others, slot, ticks - 1);
      closeTick(others, slot);
    }
    addLumpsThrough(others, slot, throughTick);
  }
  return slots.map(({ state }) => state);
}

function logEWithoutSlot(others: Others, slot: Slot, index: number, members: readonly number[]): number {
  advance(others, slot, index);
  let max = Number.NEGATIVE_INFINITY;
  const terms = members.map((g) => {
    const plan = others.plans[g] as Plan;
    const detectors = slot.state.others[g];
    const term = detectors ? plan.logShare + logEOf(plan, detectors) : Number.NEGATIVE_INFINITY;
    if (term > max) max = term;
    return term;
  });
  return max + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - max), 0));
}

/** Goes through the open ticks up to `index`, whose restarts are not placed yet: a decision is made before them. */
function advance(others: Others, slot: Slot, index: number): void {
  while (slot.next < index || !slot.isOpen) {
    if (slot.isOpen) closeTick(others, slot);
    multiplyTick(others, slot);
  }
}

function multiplyTick(others: Others, slot: Slot): void {
  const counts = others.ledger.ticks[slot.next] as TickCounts;
  addLumpsThrough(others, slot, counts.tick);
  const candidate = without(others, slot, counts.arms.candidate);
  const stable = without(others, slot, counts.arms.stable);
  const arms = { tick: counts.tick, isClosed: isClosed(others.ledger, counts.tick), candidate, stable };
  const plans = plansAt(others.schedule, counts.tick);
  slot.state.others.forEach((detectors, g) => {
    if (detectors) stepDetectors(plans[g] as Plan, g, detectors, arms);
  });
  slot.isOpen = true;
}

function closeTick(others: Others, slot: Slot): void {
  const { candidate } = (others.ledger.ticks[slot.next] as TickCounts).arms;
  const assigned = without(others, slot, candidate).assigned;
  const logWeight = logSpent(slot.othersAssigned, assigned);
  for (const detectors of slot.state.others) if (detectors) endDetectors(detectors, logWeight);
  slot.othersAssigned += assigned;
  slot.next += 1;
  slot.isOpen = false;
}

function addLumpsThrough(others: Others, slot: Slot, tick: number): void {
  for (const lumpTick of others.ledger.lumpTicks) {
    if (lumpTick <= slot.throughTick || lumpTick > tick) continue;
    for (const detectors of slot.state.others) if (detectors) addLumps(detectors);
  }
  slot.throughTick = Math.max(slot.throughTick, tick);
}

/** The arm's total without the slot's runtimes. */
function without(others: Others, slot: Slot, side: ArmCounts): Counts {
  const rows = slot.state.isShared
    ? side.runtimes.filter(({ runtime }) => slotOf(others, runtime) === slot)
    : [runtimeIn(side, slot.state.runtime) ?? []].flat();
  if (rows.length === 0) return side.total;
  const rest = cloneCounts(side.total);
  for (const row of rows) addTo(rest, row, -1);
  return rest;
}

/** Books what each runtime was assigned and carried, and gives new ones their slots, in the order of the ticks. */
function book(others: Others, index: number): void {
  for (; others.booked <= index; others.booked++) {
    const { tick, arms } = others.ledger.ticks[others.booked] as TickCounts;
    for (const arm of ARMS) for (const row of arms[arm].runtimes) bookRow(others, arm, tick, row);
  }
}

function bookRow(others: Others, arm: Arm, tick: number, row: Counts & { readonly runtime: string }): void {
  const slot = slotOf(others, row.runtime) ?? addSlot(others, newRuntimeState(others, row.runtime));
  const { state } = slot;
  if (row.assigned > 0) state.lastTick = tick;
  if (arm === "stable") return;
  state.assigned += row.assigned;
  others.plans.forEach((plan, g) => {
    if (state.others[g]) state.bad[g] = (state.bad[g] as number) + badOf(plan, g, row);
  });
}

function slotOf(others: Others, runtime: string): Slot | undefined {
  return others.own.get(runtime) ?? others.shared.get(bucketOf(runtime));
}

function addSlot(others: Others, state: RuntimeState): Slot {
  const slot: Slot = {
    state,
    othersAssigned: others.base.assigned.candidate - state.assigned,
    next: 0,
    isOpen: false,
    throughTick: others.base.throughTick,
  };
  if (state.isShared) others.shared.set(Number(state.runtime), slot);
  else others.own.set(state.runtime, slot);
  return slot;
}

/** Until a runtime has its first run, the others are everybody. */
function newRuntimeState({ base, own, plans }: Others, runtime: string): RuntimeState {
  const isShared = own.size >= MAX_RUNTIMES;
  return {
    runtime: isShared ? String(bucketOf(runtime)) : runtime,
    isShared,
    lastTick: -1,
    assigned: 0,
    bad: plans.map(() => 0),
    others: plans.map(({ isTested, logShare }, g) =>
      isTested && logShare > Number.NEGATIVE_INFINITY
        ? cloneDetectors(base.guardrails[g] as LedgerPrefix["guardrails"][number])
        : null,
    ),
  };
}

function bucketOf(runtime: string): number {
  return murmur3(runtime) % SHARED_BUCKETS;
}

function nameOf({ runtime, isShared }: RuntimeState): string {
  return isShared ? `#${runtime}` : runtime;
}
