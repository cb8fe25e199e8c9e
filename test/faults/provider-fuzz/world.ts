/**
 * Two real servers with histories of their own, of which one is on duty; and somebody who changes things on it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Snapshot } from "@flagback/schemas";
import { type RunningServer, startServer } from "flagback";
import { type Logger, pino } from "pino";
import type { Upstream } from "../../support/frame-gateway.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

export const ALIAS = "support-agent";
export const WRITE_SWITCH = "writes_disabled";
const VERSIONS = ["2.3.3", "2.4.0", "2.5.0"].map((number) => `${ALIAS}@${number}`);
/** Flags that are put and deleted; not all of them exist at any time. */
export const FLAGS = ["banner", "limit", "model"];
/** Attributes that agents say about themselves, and that scopes ask for. */
export const ATTRIBUTES: readonly Record<string, string>[] = [
  {},
  { agent: ALIAS },
  { agent: "other" },
  { tenant: "acme" },
  { agent: ALIAS, tenant: "globex" },
];

const LEASE_MS = 400;
const HEARTBEAT_MS = 200;
const SCOPES = ["*", `agent=${ALIAS}`, "agent=other", "tenant=acme", `agent=${ALIAS},tenant=acme`, "tool=refund"];

interface Backend {
  readonly dataDir: string;
  readonly adminToken: string;
  readonly runtimeToken: string;
  server: RunningServer;
}

export class World {
  readonly #backends: readonly Backend[];
  #onDuty = 0;
  #moving: Promise<void> = Promise.resolve();
  #restarts = 0;
  readonly changes = { done: 0, refused: 0, unanswered: 0 };

  readonly #log: Logger;

  private constructor(backends: readonly Backend[], log: Logger) {
    this.#backends = backends;
    this.#log = log;
  }

  /** @param complained what a server logs as an error: a healthy one logs none, whatever its runtimes meet */
  static async open(complained: (line: string) => void): Promise<World> {
    const log = pino({ level: "error" }, { write: complained });
    const backends: Backend[] = [];
    for (let i = 0; i < 2; i++) backends.push(await openBackend(log));
    return new World(backends, log);
  }

  get restarts(): number {
    return this.#restarts;
  }

  get upstream(): Upstream {
    const { server, runtimeToken } = this.#current;
    return { url: server.url, token: runtimeToken };
  }

  get #current(): Backend {
    return this.#backends[this.#onDuty] as Backend;
  }

  /** One restart after the other: the server on duty ends in good order and comes back, elsewhere, with its history. */
  restart(): void {
    this.#moving = this.#moving.then(async () => {
      const backend = this.#current;
      await backend.server.close();
      backend.server = await serve(backend.dataDir, this.#log);
      this.#restarts += 1;
    });
  }

  /** @param moved told when the other one is on duty */
  failOver(moved: () => void): void {
    this.#moving = this.#moving.then(() => {
      this.#onDuty = 1 - this.#onDuty;
      moved();
    });
  }

  /** Waits until a server is there. */
  async settled(): Promise<void> {
    await this.#moving;
  }

  /** Makes some change; refusals and a server that is away are part of it. */
  async change(seed: number): Promise<void> {
    const random = new SeededRandom(seed);
    for (const [method, path, body] of changeOf(random)) {
      try {
        const status = await this.#call(method, path, body);
        this.changes[status < 300 ? "done" : "refused"] += 1;
      } catch {
        this.changes.unanswered += 1;
      }
    }
  }

  /** What a runtime holds that is in step. */
  async snapshot(): Promise<Snapshot> {
    const { url, token } = this.upstream;
    const answer = await fetch(`${url}/v1/snapshot`, { headers: { authorization: `Bearer ${token}` } });
    return Snapshot.parse(await answer.json());
  }

  async close(): Promise<void> {
    await this.#moving;
    for (const { server, dataDir } of this.#backends) {
      await server.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  }

  async #call(method: string, path: string, body: unknown): Promise<number> {
    const { server, adminToken } = this.#current;
    return (await call(server.url, adminToken, method, path, body)).status;
  }
}

type Request = readonly [method: string, path: string, body?: unknown];

/** What somebody does. Most of it gives back what was taken, so that the servers are not stopped for good. */
function changeOf(random: SeededRandom): Request[] {
  const reason = "fuzz";
  const alias = `/v1/aliases/${ALIAS}`;
  const killSwitch = `/v1/kill-switches/${WRITE_SWITCH}`;
  const candidate = random.pick(VERSIONS);
  const giveBack: Request[] = [
    ...SCOPES.map((scope): Request => ["POST", `${killSwitch}/release`, { scope, reason }]),
    ...VERSIONS.map((version): Request => ["POST", `${alias}/unlock`, { version, reason, rootCause: reason }]),
    ["POST", `${alias}/roll-forward`, { version: candidate, percent: 50, reason }],
  ];
  const single: Request[] = [
    ["POST", `${alias}/rollback`, { reason }],
    ["POST", `${alias}/rollback`, { reason }],
    ["POST", `${alias}/advance`, { reason, bypassGate: true }],
    ["POST", `${alias}/pause`, { reason }],
    ["POST", `${alias}/resume`, { reason }],
    ["POST", `${alias}/promote`, { reason }],
    ["PUT", alias, { salt: random.pick([ALIAS, "other salt"]) }],
    ["POST", `${killSwitch}/engage`, { scope: random.pick(SCOPES), reason }],
    ["POST", `${killSwitch}/engage`, { scope: random.pick(SCOPES), reason, until: soon(random) }],
    ["POST", `${killSwitch}/release`, { scope: random.pick(SCOPES), reason }],
    ["PUT", killSwitch, { failSafe: { engage: random.chance(0.8), afterMs: random.pick([0, 0, 100]) } }],
    ["PUT", `/v1/flags/${random.pick(FLAGS)}`, flagOf(random)],
    ["PUT", `/v1/flags/${random.pick(FLAGS)}`, flagOf(random)],
    ["DELETE", `/v1/flags/${random.pick(FLAGS)}`],
  ];
  return random.chance(0.3) ? giveBack : [random.pick(single)];
}

function soon(random: SeededRandom): string {
  return new Date(Date.now() + random.int(100, 3_000)).toISOString();
}

function flagOf(random: SeededRandom): object {
  const variants = random.pick([
    { on: true, off: false },
    { low: 1, high: 50 },
    { short: "a", long: "b" },
    { plain: { a: 1 }, list: [1, 2] },
  ]);
  const names = Object.keys(variants);
  return {
    state: random.pick(["ENABLED", "ENABLED", "DISABLED"]),
    variants,
    defaultVariant: random.pick(names),
    ...(random.chance(0.4) && { targeting: { fractional: names.map((name) => [name, 50]) } }),
  };
}

async function openBackend(log: Logger): Promise<Backend> {
  const dataDir = await mkdtemp(join(tmpdir(), "flagback-fuzz-"));
  const server = await serve(dataDir, log);
  const adminToken = server.adminToken as string;
  const desired = {
    versions: VERSIONS.map((id) => ({ id, kind: "prompt", payload: { prompt: id } })),
    aliases: {
      [ALIAS]: {
        stable: VERSIONS[0],
        candidates: VERSIONS.map((id, i) => ({ id, weight: i === 0 ? 100 : 0 })),
        policy: {
          guardrails: [{ metric: "error_rate", max: 0.3 }],
          stages: [
            { name: "half", percent: 50 },
            { name: "full", percent: 100 },
          ],
        },
      },
    },
  };
  await call(server.url, adminToken, "POST", "/v1/apply", desired);
  await call(server.url, adminToken, "POST", `/v1/aliases/${ALIAS}/rollout`, { candidate: VERSIONS[1] });
  const made = await call(server.url, adminToken, "POST", "/v1/tokens", { role: "runtime", name: "fuzz" });
  const { secret } = (await made.json()) as { secret: string };
  return { dataDir, adminToken, runtimeToken: secret, server };
}

function serve(dataDir: string, log: Logger): Promise<RunningServer> {
  return startServer({ dataDir, log, port: 0, leaseMs: LEASE_MS, heartbeatMs: HEARTBEAT_MS });
}

function call(url: string, token: string, method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}
