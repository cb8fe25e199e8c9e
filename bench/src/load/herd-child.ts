/**
 * A process of runtimes that come back when their sockets end, after the same delays as a provider's: at random within a
 * doubling ceiling, or when the server asks them to.
 */
import { reconnectDelayMs, serverDelayMs } from "../../../provider/src/connection/backoff.ts";
import { sharedNowMs } from "./clock.ts";
import { type Cursor, LightClient } from "./light-client.ts";
import { serve } from "./peer.ts";
import { quantile } from "./statistics.ts";

const CONNECT_AT_ONCE = 200;
const LEASE_EVERY_MS = 5_000;
/** How long everybody may take before the benchmark gives up. */
const PATIENCE_MS = 120_000;

interface Target {
  readonly port: number;
  readonly token: string;
  /** Whether they say what they hold; without it they come back as new ones. */
  readonly resumes: boolean;
}

class Runtime {
  readonly #target: Target;
  #client: LightClient;
  #cursor: Cursor | undefined;
  #attempts = 0;
  #outageSinceMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(target: Target) {
    this.#target = target;
    this.#client = this.#connect();
  }

  get client(): LightClient {
    return this.#client;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => undefined, 0);
    this.#client.destroy();
  }

  #connect(): LightClient {
    const { port, token, resumes } = this.#target;
    tally.attempts += 1;
    return new LightClient(
      {
        speech: "flagback",
        port,
        token,
        ...(resumes && this.#cursor !== undefined ? { resume: this.#cursor } : {}),
        onRevision: (revision, client) => this.#arrived(revision, client),
        onEnd: (client) => this.#ended(client),
      },
      resumes ? this.#client?.instance : undefined,
    );
  }

  #arrived(revision: number, client: LightClient): void {
    this.#cursor = client.cursor;
    this.#attempts = 0;
    client.acknowledge();
    if (this.#timer === undefined) this.#renewLease(client);
    arrived(this, revision);
  }

  /** At once, as the provider asks for its first lease, and again while the socket lives. */
  #renewLease(client: LightClient): void {
    client.askLease();
    this.#timer = setTimeout(() => this.#renewLease(client), LEASE_EVERY_MS);
  }

  #ended(client: LightClient): void {
    if (!isOpen) return;
    clearTimeout(this.#timer);
    const nowMs = sharedNowMs();
    if (this.#attempts === 0) this.#outageSinceMs = nowMs;
    const { invitation } = client;
    if (invitation !== null) tally.putOff += 1;
    const ownMs = reconnectDelayMs(this.#attempts, nowMs - this.#outageSinceMs, Math.random());
    this.#attempts += 1;
    const delayMs =
      invitation === null
        ? ownMs
        : serverDelayMs(invitation.afterMs, Math.max(invitation.spreadMs, ownMs), Math.random());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#client = this.#connect();
    }, delayMs);
  }
}

let runtimes: Runtime[] = [];
let isOpen = false;
const tally = { attempts: 0, putOff: 0 };
let target = Number.POSITIVE_INFINITY;
/** When each first held it. */
let arrivals = new Map<Runtime, number>();
let everybody: (() => void) | undefined;

function arrived(runtime: Runtime, revision: number): void {
  if (revision < target || arrivals.has(runtime)) return;
  arrivals.set(runtime, sharedNowMs());
  if (arrivals.size === runtimes.length) everybody?.();
}

const skills = {
  async start({ n, ...aim }: Target & { n: number }): Promise<void> {
    isOpen = true;
    target = Number.POSITIVE_INFINITY;
    runtimes = [];
    for (let begun = 0; begun < n; begun += CONNECT_AT_ONCE) {
      const some = Array.from({ length: Math.min(CONNECT_AT_ONCE, n - begun) }, () => new Runtime(aim));
      runtimes.push(...some);
      await Promise.all(some.map(({ client }) => client.ready()));
    }
  },
  /** From now on counts who holds the revision or a later one. To be asked before the revision is there. */
  await(revision: number): void {
    target = revision;
    arrivals = new Map();
    Object.assign(tally, { attempts: 0, putOff: 0 });
  },
  /** Waits until everybody holds it. */
  async held() {
    if (arrivals.size < runtimes.length) {
      await new Promise<void>((done, reject) => {
        const late = setTimeout(() => reject(new Error(`only ${arrivals.size} came back`)), PATIENCE_MS);
        everybody = () => {
          clearTimeout(late);
          done();
        };
      });
    }
    const sorted = [...arrivals.values()].sort((a, b) => a - b);
    return { ...tally, p50Ms: quantile(sorted, 0.5), lastMs: sorted.at(-1) ?? Number.NaN };
  },
  stop(): void {
    isOpen = false;
    for (const runtime of runtimes) runtime.close();
    runtimes = [];
  },
};
export type HerdSkills = typeof skills;

serve(skills);
