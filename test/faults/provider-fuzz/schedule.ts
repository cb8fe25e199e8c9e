/**
 * What is done to the runtimes and their server, and when: a pure function of the seed.
 */
import type { Directions, Ending, PartitionKind } from "../../support/network-proxy.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

/**
 * What a runtime's network, gateway or server does. `seed` decides whatever the action leaves open; `isState` waits for a
 * frame that changes what the runtime holds.
 */
export type RuntimeFault =
  | {
      readonly kind: "partition";
      readonly directions: Directions;
      readonly loss: PartitionKind;
      readonly forMs: number;
    }
  | { readonly kind: "delay"; readonly ms: number; readonly forMs: number }
  | { readonly kind: "cut"; readonly ending: Ending }
  | { readonly kind: "cutAfter"; readonly bytes: number }
  /** Bytes that are no frame. */
  | { readonly kind: "brokenBytes"; readonly seed: number }
  | { readonly kind: "inventedFrame"; readonly seed: number }
  | { readonly kind: "mutatedFrame"; readonly seed: number }
  | { readonly kind: "newerFrame"; readonly seed: number }
  | { readonly kind: "droppedFrame"; readonly isState: boolean }
  | { readonly kind: "repeatedFrame"; readonly isState: boolean }
  /** A frame arrives after the one that follows it. */
  | { readonly kind: "overtakenFrame"; readonly isState: boolean }
  /** A frame of this connection's or an earlier one's arrives again. */
  | { readonly kind: "replayedFrame"; readonly back: number }
  | { readonly kind: "impostor"; readonly seed: number; readonly forMs: number }
  | { readonly kind: "refusal"; readonly status: number; readonly retryAfter?: string }
  /** No stream is let through any more in this round, but HTTP is. */
  | { readonly kind: "blockedStream"; readonly status: number }
  /** The next request beside the stream gets the answer of the last one. */
  | { readonly kind: "replayedAnswer" };

/** What happened to a cache file while nobody used it. */
export type CacheDamage = "none" | "cut" | "overwritten" | "gone";

export type ServerFault =
  | { readonly kind: "restart" }
  /** Another server with another history takes over. */
  | { readonly kind: "failover" };

/** A change that somebody makes on the server. */
export interface Change {
  readonly kind: "change";
  readonly seed: number;
}

export type Action = { readonly atMs: number } & (
  | { readonly target: "runtime"; readonly runtime: number; readonly fault: RuntimeFault }
  | {
      readonly target: "process";
      readonly runtime: number;
      readonly fault: { readonly kind: "restartedRuntime"; readonly damage: CacheDamage };
    }
  | { readonly target: "server"; readonly fault: ServerFault | Change }
);

/** One round of faults. After it everything heals, and every runtime must come into step. */
export interface Round {
  readonly forMs: number;
  readonly actions: readonly Action[];
}

const ROUND_MS = 4_000;
/** Faults of each runtime, and changes, per second. */
const FAULTS_PER_SECOND = 3;
const CHANGES_PER_SECOND = 12;

/** Neither 401 nor 403: a runtime does not come back for minutes after these, as it should. */
const REFUSALS = [200, 204, 302, 404, 426, 429, 500, 502, 503];

/** What a proxy answers that knows no WebSocket; a server that is busy says something else. */
const BLOCKS = [200, 302, 400, 404, 405, 426];

/** Rounds that last so many seconds together, not counting the time in which everything heals. */
export function scheduleOf(seed: number, seconds: number, runtimes: number): Round[] {
  const random = new SeededRandom(seed);
  const rounds = Math.max(1, Math.round((seconds * 1_000) / ROUND_MS));
  const forMs = (seconds * 1_000) / rounds;
  return Array.from({ length: rounds }, () => ({ forMs, actions: roundOf(random, forMs, runtimes) }));
}

function roundOf(random: SeededRandom, forMs: number, runtimes: number): Action[] {
  const actions: Action[] = [];
  for (let runtime = 0; runtime < runtimes; runtime++) {
    for (const atMs of moments(random, forMs, FAULTS_PER_SECOND)) {
      actions.push({ atMs, target: "runtime", runtime, fault: runtimeFault(random) });
    }
    if (random.chance(0.4)) {
      const damage = random.pick<CacheDamage>(["none", "none", "none", "cut", "overwritten", "gone"]);
      const fault = { kind: "restartedRuntime", damage } as const;
      actions.push({ atMs: random.between(0, forMs), target: "process", runtime, fault });
    }
    if (random.chance(0.15)) {
      const fault = { kind: "blockedStream", status: random.pick(BLOCKS) } as const;
      actions.push({ atMs: random.between(0, forMs), target: "runtime", runtime, fault });
    }
  }
  for (const atMs of moments(random, forMs, CHANGES_PER_SECOND)) {
    actions.push({ atMs, target: "server", fault: { kind: "change", seed: random.seed() } });
  }
  // One of each at most, so that a server is there most of the time.
  if (random.chance(0.7))
    actions.push({ atMs: random.between(0, forMs), target: "server", fault: { kind: "restart" } });
  if (random.chance(0.4))
    actions.push({ atMs: random.between(0, forMs), target: "server", fault: { kind: "failover" } });
  return actions.sort((a, b) => a.atMs - b.atMs);
}

function moments(random: SeededRandom, forMs: number, perSecond: number): number[] {
  return Array.from({ length: Math.round((forMs / 1_000) * perSecond) }, () => random.between(0, forMs));
}

function runtimeFault(random: SeededRandom): RuntimeFault {
  const kinds = [
    "partition",
    "delay",
    "cut",
    "cutAfter",
    "brokenBytes",
    "inventedFrame",
    "mutatedFrame",
    "mutatedFrame",
    "newerFrame",
    "droppedFrame",
    "repeatedFrame",
    "overtakenFrame",
    "replayedFrame",
    "replayedFrame",
    "impostor",
    "refusal",
    "replayedAnswer",
  ] as const;
  const kind = random.pick(kinds);
  switch (kind) {
    case "partition":
      return {
        kind,
        directions: random.pick(["both", "toClient", "toServer"]),
        loss: random.pick(["hold", "hold", "lose"]),
        forMs: random.between(20, 900),
      };
    case "delay":
      return { kind, ms: random.int(1, 150), forMs: random.between(100, 800) };
    case "cut":
      return { kind, ending: random.pick(["close", "halfClose", "reset"]) };
    case "cutAfter":
      return { kind, bytes: random.int(1, 400) };
    case "brokenBytes":
    case "inventedFrame":
    case "mutatedFrame":
    case "newerFrame":
      return { kind, seed: random.seed() };
    case "droppedFrame":
    case "repeatedFrame":
    case "overtakenFrame":
      return { kind, isState: random.chance(0.5) };
    case "replayedAnswer":
      return { kind };
    case "replayedFrame":
      return { kind, back: random.int(1, 12) };
    case "impostor":
      return { kind, seed: random.seed(), forMs: random.between(50, 600) };
    case "refusal":
      return {
        kind,
        status: random.pick(REFUSALS),
        ...(random.chance(0.3) && { retryAfter: random.pick(["0", "1", "soon", "-5"]) }),
      };
  }
}
