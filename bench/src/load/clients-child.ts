/** A process with many light clients, in groups. */
import { sharedNowMs } from "./clock.ts";
import { LightClient, type Speech } from "./light-client.ts";
import { serve } from "./peer.ts";
import { quantile } from "./statistics.ts";
import { lookAtUsage } from "./usage.ts";

/** Sockets that are being opened at once: more would measure the listen backlog. */
const CONNECT_AT_ONCE = 200;
/** Fewer than the server lets in. */
const CONNECT_PER_SECOND = 1_500;
/** How long a revision may take to reach everybody before the benchmark gives up. */
const ARRIVAL_TIMEOUT_MS = 60_000;
const LEASE_EVERY_MS = 5_000;

/** When a revision reached the clients of a group, on the shared clock. */
export interface Arrivals {
  readonly clients: number;
  readonly firstMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lastMs: number;
}

/** A group's acknowledgements go out when all its clients hold a revision, or after this. */
const ACKNOWLEDGE_WITHIN_MS = 250;

interface Group {
  readonly acknowledges: boolean;
  readonly clients: LightClient[];
  readonly arrivals: Map<number, number[]>;
  /**
   * Clients that have not said yet what they hold. Runtimes are machines of their own: one's acknowledgement must not keep
   * another one, which shares this process with it, from reading.
   */
  unacknowledged: Set<LightClient>;
  acknowledging: NodeJS.Timeout | null;
  waiting: { readonly revision: number; readonly done: () => void } | null;
  leases: NodeJS.Timeout | null;
  lost: number;
}

const groups = new Map<string, Group>();

function groupOf(name: string): Group {
  const group = groups.get(name);
  if (!group) throw new Error(`there is no group ${name}`);
  return group;
}

const skills = {
  /** Opens `n` clients and waits until each holds its first revision. */
  async connect(input: {
    group: string;
    speech: Speech;
    port: number;
    token: string;
    n: number;
    acknowledges: boolean;
  }): Promise<void> {
    const group: Group = {
      acknowledges: input.acknowledges,
      clients: [],
      arrivals: new Map(),
      unacknowledged: new Set(),
      acknowledging: null,
      waiting: null,
      leases: null,
      lost: 0,
    };
    groups.set(input.group, group);
    const options = {
      ...input,
      onRevision: (revision: number, client: LightClient) => arrived(group, revision, client),
      onEnd: () => {
        group.lost += 1;
      },
    };
    const begunMs = sharedNowMs();
    for (let begun = 0; begun < input.n; begun += CONNECT_AT_ONCE) {
      const dueMs = begunMs + (begun * 1_000) / CONNECT_PER_SECOND;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - sharedNowMs())));
      const some = Array.from({ length: Math.min(CONNECT_AT_ONCE, input.n - begun) }, () => new LightClient(options));
      group.clients.push(...some);
      await Promise.all(some.map((client) => client.ready()));
    }
    if (group.lost > 0) throw new Error(`${group.lost} of ${input.n} clients of ${input.group} were not let in`);
    group.arrivals.clear();
    if (input.speech === "flagback") group.leases = askForLeases(group);
  },

  /** Waits until every client of the group holds the revision. */
  async arrivals({ group: name, revision }: { group: string; revision: number }): Promise<Arrivals> {
    const group = groupOf(name);
    const times = group.arrivals.get(revision);
    if ((times?.length ?? 0) < group.clients.length) {
      await new Promise<void>((done, reject) => {
        const late = setTimeout(() => {
          reject(new Error(`revision ${revision} reached ${group.arrivals.get(revision)?.length ?? 0} clients`));
        }, ARRIVAL_TIMEOUT_MS);
        group.waiting = {
          revision,
          done: () => {
            clearTimeout(late);
            done();
          },
        };
      });
    }
    const sorted = (group.arrivals.get(revision) ?? []).sort((a, b) => a - b);
    for (const old of group.arrivals.keys()) if (old <= revision) group.arrivals.delete(old);
    return {
      clients: sorted.length,
      firstMs: sorted[0] ?? Number.NaN,
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      lastMs: sorted.at(-1) ?? Number.NaN,
    };
  },

  /** What the group's clients were sent last, as text. */
  lastText: ({ group }: { group: string }): string => groupOf(group).clients[0]?.lastText ?? "",

  disconnect({ group: name }: { group: string }): void {
    const group = groupOf(name);
    if (group.leases) clearInterval(group.leases);
    if (group.acknowledging) clearTimeout(group.acknowledging);
    for (const client of group.clients) client.destroy();
    groups.delete(name);
  },

  usage: () => lookAtUsage(),
};
export type ClientSkills = typeof skills;

function arrived(group: Group, revision: number, client: LightClient): void {
  if (group.acknowledges) {
    group.unacknowledged.add(client);
    group.acknowledging ??= setTimeout(() => acknowledge(group), ACKNOWLEDGE_WITHIN_MS);
  }
  const times = group.arrivals.get(revision) ?? [];
  if (times.length === 0) group.arrivals.set(revision, times);
  times.push(sharedNowMs());
  if (times.length === group.clients.length && group.acknowledges) setImmediate(() => acknowledge(group));
  if (group.waiting?.revision !== revision || times.length < group.clients.length) return;
  group.waiting.done();
  group.waiting = null;
}

function acknowledge(group: Group): void {
  if (group.acknowledging) clearTimeout(group.acknowledging);
  group.acknowledging = null;
  for (const client of group.unacknowledged) client.acknowledge();
  group.unacknowledged.clear();
}

/** Spread over the interval, as runtimes that started at different times are. */
function askForLeases(group: Group): NodeJS.Timeout {
  const beats = 100;
  let beat = 0;
  return setInterval(() => {
    for (let i = beat % beats; i < group.clients.length; i += beats) group.clients[i]?.askLease();
    beat += 1;
  }, LEASE_EVERY_MS / beats);
}

serve(skills);
