/**
 * What is done to the server and to the runtimes, and when: a pure function of the seed.
 */
import { FAILPOINTS, type Failpoint } from "../../../server/src/store/failpoints.ts";
import type { Directions, Ending, PartitionKind } from "../../support/network-proxy.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

export type RuntimeFault =
  | { readonly kind: "cut"; readonly ending: Ending }
  /** In the middle of a frame, most often. */
  | { readonly kind: "cutAfter"; readonly bytes: number }
  /** `lose`: half open for ever, as where a middlebox forgot the connection. */
  | {
      readonly kind: "partition";
      readonly directions: Directions;
      readonly loss: PartitionKind;
      readonly forMs: number;
    }
  | { readonly kind: "delay"; readonly ms: number; readonly forMs: number }
  | { readonly kind: "runtimeClockJump"; readonly ms: number }
  | { readonly kind: "duplicatedBatch" }
  /** A batch arrives after the one that follows it. */
  | { readonly kind: "reorderedBatch" }
  | { readonly kind: "restartedRuntime" };

export type ServerFault =
  /** At any moment of its work. */
  | { readonly kind: "kill" }
  /** Nothing of it runs for a while. */
  | { readonly kind: "stall"; readonly forMs: number }
  | { readonly kind: "serverClockJump"; readonly ms: number }
  | { readonly kind: "diskFull"; readonly forMs: number }
  /** Every write meets an I/O error, on a server whose life is of that kind. */
  | { readonly kind: "diskErrors"; readonly forMs: number }
  /** Runtimes that read nothing while much is sent to them. */
  | { readonly kind: "slowReaders"; readonly count: number }
  | { readonly kind: "refusedAlert" };

export type Action = { readonly atMs: number } & (
  | { readonly target: "runtime"; readonly runtime: number; readonly fault: RuntimeFault }
  | { readonly target: "server"; readonly fault: ServerFault }
);

/** How one of the round's servers ends: at a failpoint, or by a kill and the round's end. */
export type Life =
  | { readonly kind: "diesAt"; readonly point: Failpoint; readonly reaches: number }
  /** Its writes can be made to fail. */
  | { readonly kind: "hasABadDisk"; readonly moment: "before-begin" | "after-begin" | "before-commit" };

/** One round of faults. After it everything heals, and whatever was seen is judged. */
export interface Round {
  readonly forMs: number;
  readonly actions: readonly Action[];
  /** One after the other; those after the last are like it. */
  readonly lives: readonly Life[];
  /** Decides what the operators do. */
  readonly seed: number;
}

const ROUND_MS = 10_000;
/** Servers that die at a failpoint in one round, at most. */
const LIVES = 6;
/** Faults of all runtimes together in a second, for each hundred of them. */
const FAULTS_PER_SECOND = 12;
const JUMP_MS = 3_600_000;

/** Rounds that last so many seconds together, not counting the time in which everything heals. */
export function scheduleOf(seed: number, seconds: number, runtimes: number): Round[] {
  const random = new SeededRandom(seed);
  const rounds = Math.max(1, Math.round((seconds * 1_000) / ROUND_MS));
  const forMs = (seconds * 1_000) / rounds;
  const points = pointsIn(random);
  return Array.from({ length: rounds }, () => ({
    forMs,
    seed: random.seed(),
    lives: livesOf(random, points),
    actions: actionsOf(random, forMs, runtimes),
  }));
}

function livesOf(random: SeededRandom, points: Generator<Failpoint, never>): Life[] {
  const deaths = Array.from({ length: LIVES }, (): Life => {
    return { kind: "diesAt", point: points.next().value, reaches: random.pick([1, 1, 2, 5]) };
  });
  return [...deaths, { kind: "hasABadDisk", moment: random.pick(["before-begin", "after-begin", "before-commit"]) }];
}

/** Every failpoint comes once before any comes again. */
function* pointsIn(random: SeededRandom): Generator<Failpoint, never> {
  for (;;) {
    const left = [...FAILPOINTS];
    while (left.length > 0) yield left.splice(random.int(0, left.length - 1), 1)[0] as Failpoint;
  }
}

function actionsOf(random: SeededRandom, forMs: number, runtimes: number): Action[] {
  const actions: Action[] = [];
  const at = () => random.between(0, forMs);
  const count = Math.max(3, Math.round((forMs / 1_000) * FAULTS_PER_SECOND * (runtimes / 100)));
  for (let i = 0; i < count; i++) {
    actions.push({ atMs: at(), target: "runtime", runtime: random.int(0, runtimes - 1), fault: runtimeFault(random) });
  }
  const server = (probability: number, fault: () => ServerFault) => {
    if (random.chance(probability)) actions.push({ atMs: at(), target: "server", fault: fault() });
  };
  server(0.8, () => ({ kind: "kill" }));
  server(0.4, () => ({ kind: "stall", forMs: random.between(200, 3_000) }));
  server(0.5, () => ({ kind: "serverClockJump", ms: random.pick([-JUMP_MS, JUMP_MS]) }));
  server(0.5, () => ({ kind: "diskFull", forMs: random.between(500, 2_500) }));
  server(0.5, () => ({ kind: "diskErrors", forMs: random.between(200, 2_000) }));
  server(0.5, () => ({ kind: "slowReaders", count: random.int(2, 6) }));
  server(0.7, () => ({ kind: "refusedAlert" }));
  return actions.sort((a, b) => a.atMs - b.atMs);
}

function runtimeFault(random: SeededRandom): RuntimeFault {
  const kind = random.pick([
    "cut",
    "cut",
    "cutAfter",
    "partition",
    "partition",
    "partition",
    "delay",
    "runtimeClockJump",
    "duplicatedBatch",
    "duplicatedBatch",
    "reorderedBatch",
    "restartedRuntime",
  ] as const);
  switch (kind) {
    case "cut":
      return { kind, ending: random.pick(["close", "halfClose", "reset"]) };
    case "cutAfter":
      return { kind, bytes: random.int(1, 400) };
    case "partition":
      return {
        kind,
        directions: random.pick(["both", "both", "toClient", "toServer"]),
        loss: random.pick(["hold", "lose"]),
        forMs: random.between(100, 5_000),
      };
    case "delay":
      return { kind, ms: random.int(1, 300), forMs: random.between(200, 3_000) };
    case "runtimeClockJump":
      return { kind, ms: random.pick([-JUMP_MS, JUMP_MS]) };
    case "duplicatedBatch":
    case "reorderedBatch":
    case "restartedRuntime":
      return { kind };
  }
}
