/**
 * Runtimes that are cut off from a real server around the moment of a rollback, and everything that they answered.
 */
import { FlagbackProvider, withRun } from "@flagback/provider";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { type Directions, NetworkProxy, type PartitionKind } from "../../support/network-proxy.ts";
import { ALIAS, CANDIDATE, STABLE, startRollout } from "../../support/rollout.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { type Answer, eventually, type TestServer, testServer } from "../../support/server.ts";
import type { PermittedRead, Withdrawal } from "./bound.ts";
import { JumpingClock } from "./jumping-clock.ts";

export const LEASE_MS = 300;
/** Short, so that cut connections are given up and dialled again within a round. */
const HEARTBEAT_MS = 100;
/** Two switches, both engaged by the rollback: one is held a while longer by its fail-safe. */
const SWITCHES = { writes_disabled: 0, slow_writes: 120 } as const;
type SwitchKey = keyof typeof SWITCHES;
const SWITCH_KEYS = Object.keys(SWITCHES) as SwitchKey[];
/** How far the wall clock is set back or forward, where somebody sets it. */
const JUMP_MS = 3_600_000;

export interface PartitionPlan {
  readonly directions: Directions;
  readonly kind: PartitionKind;
  /** From the round's start, in which the commit comes after one lease: at any phase of the renewals. */
  readonly dropAfterMs: number;
  /** From the commit; null where it heals only with all others, after every bound. */
  readonly healAfterMs: number | null;
  readonly wallJumpMs: number;
}

/** What happened to one runtime in one round. */
export interface Partition extends Withdrawal {
  readonly runtime: string;
  readonly droppedMs: number;
  readonly afterMs: number;
  readonly reads: readonly PermittedRead[];
  /** Whether it still held a revision from before the commit when the last bound had passed. */
  readonly wasBehind: boolean;
  /** What it answered then. */
  readonly answered: { readonly write: boolean; readonly version: string | null; readonly pinned: string };
}

export function planPartition(random: SeededRandom): PartitionPlan {
  return {
    directions: random.pick(["both", "both", "toClient", "toClient", "toServer"]),
    kind: random.pick(["hold", "lose"]),
    dropAfterMs: random.chance(0.2) ? LEASE_MS + random.between(-5, 5) : random.between(0, LEASE_MS),
    healAfterMs: random.chance(0.25) ? random.between(0, LEASE_MS) : null,
    wallJumpMs: random.chance(0.25) ? random.pick([-JUMP_MS, JUMP_MS]) : 0,
  };
}

interface Subject {
  readonly name: string;
  readonly proxy: NetworkProxy;
  readonly provider: FlagbackProvider;
  readonly clock: JumpingClock;
  readonly writeSwitch: SwitchKey;
  /** A targeting key whose bucket is the candidate's. */
  key: string;
  reads: PermittedRead[];
  droppedMs: number;
}

export class PartitionLab {
  readonly #server: TestServer;
  readonly #subjects: Subject[];
  /** When the last rollback was committed, stamped in the synchronous step in which the server's head advances. */
  readonly #lastCommit: () => number;

  private constructor(server: TestServer, subjects: Subject[], lastCommit: () => number) {
    this.#server = server;
    this.#subjects = subjects;
    this.#lastCommit = lastCommit;
  }

  static async open(
    runtimes: number,
    random: SeededRandom,
    onLapse: { readonly engage: boolean; readonly onLeaseLapse: "stable" | "last" } = {
      engage: true,
      onLeaseLapse: "stable",
    },
  ): Promise<PartitionLab> {
    let committedMs = Number.NaN;
    const log = pino(
      { level: "info" },
      {
        write: (line: string) => {
          if (JSON.parse(line).action === "rollback") committedMs = performance.now();
        },
      },
    );
    const server = await testServer({ leaseMs: LEASE_MS, heartbeatMs: HEARTBEAT_MS, log });
    for (const [key, afterMs] of Object.entries(SWITCHES)) {
      await done(server.call("PUT", `/v1/kill-switches/${key}`, { failSafe: { engage: onLapse.engage, afterMs } }));
    }
    await startRollout(server.call, {
      onBreach: { engage: SWITCH_KEYS, scope: "alias", revoke: "block_writes" },
      onLeaseLapse: onLapse.onLeaseLapse,
    });
    const token = await server.token("runtime");
    const subjects = await Promise.all(
      Array.from({ length: runtimes }, (_, i) => subject(server.url, token, i, random.seed())),
    );
    return new PartitionLab(server, subjects, () => committedMs);
  }

  /** One rollback under partitions, then everything is healed, checked to be in step again, and given back. */
  async round(plans: readonly PartitionPlan[], sabotage?: (clock: JumpingClock) => void): Promise<Partition[]> {
    await this.#everybodyIsPermitted();
    for (const subject of this.#subjects) subject.reads = [];
    const reading = new Reading(this.#subjects);
    const timers = this.#subjects.map((subject, i) => {
      const plan = plans[i] as PartitionPlan;
      return setTimeout(() => {
        subject.proxy.partition(plan.directions, plan.kind);
        subject.clock.jump(plan.wallJumpMs);
        sabotage?.(subject.clock);
        subject.droppedMs = performance.now();
      }, plan.dropAfterMs);
    });
    // Drops are spread over one lease before the commit: any moment between two renewals.
    await passed(LEASE_MS);
    const { revision } = await done(
      this.#server.call<{ revision: number }>("POST", `/v1/aliases/${ALIAS}/rollback`, { reason: "a partition" }),
    );
    const committedMs = this.#lastCommit();
    this.#subjects.forEach((subject, i) => {
      const { healAfterMs } = plans[i] as PartitionPlan;
      if (healAfterMs === null) return;
      timers.push(setTimeout(() => subject.proxy.heal(), Math.max(0, committedMs + healAfterMs - performance.now())));
    });
    // Reads go on well past the last bound: a late one must be seen.
    await passed(committedMs + 2 * LEASE_MS + Math.max(...Object.values(SWITCHES)) - performance.now());
    const partitions = await Promise.all(
      this.#subjects.map(async (subject): Promise<Partition> => {
        const { name: runtime, provider, key, writeSwitch, reads, droppedMs } = subject;
        const wasBehind = (provider.revision ?? 0) < revision;
        const answered = {
          write: provider.writesAllowed({ agent: ALIAS }),
          version: provider.version(ALIAS, key),
          pinned: await withRun({ provider, agent: ALIAS, conversationId: key }, (run) => run.pin(ALIAS, "fallback")),
        };
        const afterMs = SWITCHES[writeSwitch];
        return { runtime, droppedMs, afterMs, committedMs, restoredMs: Infinity, reads, wasBehind, answered };
      }),
    );
    // Only what follows gives the permissions back, so every read until here is judged.
    await reading.stop();
    for (const timer of timers) clearTimeout(timer);
    this.#subjects.forEach(({ proxy, clock }, i) => {
      clock.start();
      proxy.heal();
      // Connections that lost bytes stay silent, and each would cost a round the ten seconds until it is given up.
      if (plans[i]?.kind === "lose") proxy.cut("reset");
    });
    await this.#everybodyHasTheRollback(revision);
    await this.#giveBack();
    return partitions;
  }

  async #everybodyIsPermitted(): Promise<void> {
    for (const subject of this.#subjects) {
      const { name, provider } = subject;
      await eventually(`${name} may write and serves the candidate`, () => {
        const keys = Array.from({ length: 64 }, (_, i) => `${name}-${i}`);
        subject.key = keys.find((key) => provider.version(ALIAS, key) === CANDIDATE) ?? "";
        return subject.key !== "" && provider.writesAllowed({ agent: ALIAS });
      });
    }
  }

  /** Not by a lapsed lease but by the change itself: a key of another agent is still allowed to write. */
  async #everybodyHasTheRollback(revision: number): Promise<void> {
    for (const { name, provider, key } of this.#subjects) {
      await eventually(
        `${name} holds the rollback under a live lease`,
        () =>
          provider.revision === revision &&
          provider.writesAllowed({ agent: "other" }) &&
          !provider.writesAllowed({ agent: ALIAS }) &&
          provider.version(ALIAS, key) === STABLE,
        20_000,
      );
    }
  }

  async #giveBack(): Promise<void> {
    const reason = "the partition is over";
    for (const key of SWITCH_KEYS) {
      const scope = `agent=${ALIAS}`;
      await done(this.#server.call("POST", `/v1/kill-switches/${key}/release`, { scope, reason }));
    }
    await done(
      this.#server.call("POST", `/v1/aliases/${ALIAS}/unlock`, { version: CANDIDATE, reason, rootCause: "none" }),
    );
    const again = { version: CANDIDATE, percent: 50, reason };
    await done(this.#server.call("POST", `/v1/aliases/${ALIAS}/roll-forward`, again));
  }
}

/** Reads of every runtime, turn after turn of the event loop, until told to stop. */
class Reading {
  #isOver = false;
  readonly #ended: Promise<void>;

  constructor(subjects: readonly Subject[]) {
    this.#ended = this.#read(subjects);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
  }

  async #read(subjects: readonly Subject[]): Promise<void> {
    while (!this.#isOver) {
      for (const { name: runtime, provider, key, reads } of subjects) {
        const writeMs = performance.now();
        if (provider.writesAllowed({ agent: ALIAS })) reads.push({ runtime, permission: "write", startedMs: writeMs });
        const versionMs = performance.now();
        if (provider.version(ALIAS, key) === CANDIDATE) {
          reads.push({ runtime, permission: "candidate", startedMs: versionMs });
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function subject(serverUrl: string, token: string, index: number, seed: number): Promise<Subject> {
  const proxy = await NetworkProxy.start(() => serverUrl);
  onTestFinished(() => proxy.close());
  const clock = new JumpingClock();
  const writeSwitch = SWITCH_KEYS[index % SWITCH_KEYS.length] as SwitchKey;
  const provider = new FlagbackProvider({
    url: proxy.url,
    token,
    clock,
    writeSwitch,
    random: new SeededRandom(seed).fraction,
    logger: { warn() {}, error() {} },
    closeTimeoutMs: 0,
  });
  onTestFinished(() => provider.onClose());
  await provider.initialize();
  return { name: `runtime-${index}`, proxy, provider, clock, writeSwitch, key: "", reads: [], droppedMs: Number.NaN };
}

async function done<Body>(answer: Promise<Answer<Body>>): Promise<Body> {
  const { status, body } = await answer;
  if (status >= 300) throw new Error(`the server answered ${status}: ${JSON.stringify(body)}`);
  return body;
}

/** Real time is the subject here: leases run out by it. */
function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
