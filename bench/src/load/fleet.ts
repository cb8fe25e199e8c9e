/** A real server, the floors, and the process of their clients: what push, flip, rollback and herd are measured with. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ALIAS, CANDIDATE, STABLE } from "./bench-agent.ts";
import type { Arrivals, ClientSkills } from "./clients-child.ts";
import { sharedNowMs } from "./clock.ts";
import type { FloorSkills } from "./floor-child.ts";
import { Peer } from "./peer.ts";
import type { ServerSkills } from "./server-child.ts";

const KILL_SWITCH = "writes_disabled";
const SETTLE_TIMEOUT_MS = 30_000;

export interface Flip {
  readonly revision: number;
  /** On the shared clock. */
  readonly postedMs: number;
  readonly committedMs: number;
}

export class Fleet {
  /** Another one after `startAgain`. */
  server: Peer<ServerSkills>;
  readonly clients: Peer<ClientSkills>;
  readonly url: string;
  readonly port: number;
  readonly runtimeToken: string;
  readonly #adminToken: string;
  readonly #folder: string;
  #isEngaged = false;

  private constructor(parts: {
    server: Peer<ServerSkills>;
    clients: Peer<ClientSkills>;
    folder: string;
    url: string;
    port: number;
    adminToken: string;
    runtimeToken: string;
  }) {
    this.server = parts.server;
    this.clients = parts.clients;
    this.#folder = parts.folder;
    this.url = parts.url;
    this.port = parts.port;
    this.#adminToken = parts.adminToken;
    this.runtimeToken = parts.runtimeToken;
  }

  static async start(): Promise<Fleet> {
    const server = await startServerPeer();
    const clients = await Peer.start<ClientSkills>("./clients-child.ts");
    const folder = mkdtempSync(join(tmpdir(), "flagback-bench-"));
    const { url, port, adminToken } = await server.ask("start", { dataDir: folder });
    const made = await post(`${url}/v1/tokens`, adminToken, { role: "runtime", name: "bench", aliases: [] });
    return new Fleet({ server, clients, folder, url, port, adminToken, runtimeToken: String(made.secret) });
  }

  /**
   * Engages the kill switch at `*`, or releases it again. With `settled` it answers once the server has heard from every
   * runtime that it holds the change, so that it is idle again when the next thing is measured.
   */
  async flip({ settled = true } = {}): Promise<Flip> {
    const action = this.#isEngaged ? "release" : "engage";
    this.#isEngaged = !this.#isEngaged;
    const postedMs = sharedNowMs();
    const wait = settled ? `?wait=applied&timeoutMs=${SETTLE_TIMEOUT_MS}` : "";
    const { revision } = await this.post(`/v1/kill-switches/${KILL_SWITCH}/${action}${wait}`, { reason: "benchmark" });
    return { revision: Number(revision), postedMs, committedMs: await this.committedMs(Number(revision)) };
  }

  /** When a revision was committed, on the shared clock. To be asked once, and not of older ones after it. */
  async committedMs(revision: number): Promise<number> {
    const commits = await this.server.ask("takeCommits");
    const commit = commits.find((each) => each.revision === revision);
    if (commit === undefined) throw new Error(`the server did not say when revision ${revision} was committed`);
    return commit.atMs;
  }

  /** A rollout at half of the traffic with three guardrails, so that outcomes are counted and judged. */
  async startRollout(): Promise<void> {
    await this.post("/v1/apply", {
      versions: [STABLE, CANDIDATE].map((id) => ({ id, kind: "prompt", payload: { prompt: id } })),
      aliases: {
        [ALIAS]: {
          stable: STABLE,
          candidates: [{ id: CANDIDATE, weight: 0 }],
          policy: {
            guardrails: [
              { metric: "error_rate", max: 0.05 },
              { metric: "latency_p95_ms", max: 1_800 },
              { metric: "tool_failure_rate", max: 0.03 },
            ],
            stages: [{ name: "half", percent: 50 }],
          },
        },
      },
    });
    await this.post(`/v1/aliases/${ALIAS}/rollout`, { candidate: CANDIDATE });
  }

  post(path: string, body: unknown): Promise<Record<string, unknown>> {
    return post(this.url + path, this.#adminToken, body);
  }

  async get(path: string): Promise<string> {
    const answer = await fetch(this.url + path, { headers: { authorization: `Bearer ${this.#adminToken}` } });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${text}`);
    return text;
  }

  async connect(group: string, n: number): Promise<void> {
    await this.clients.ask("connect", {
      group,
      speech: "flagback",
      port: this.port,
      token: this.runtimeToken,
      n,
      acknowledges: true,
    });
  }

  /** Ends the server: in order, or as when its machine is lost. */
  async end(how: "stop" | "kill"): Promise<void> {
    if (how === "kill") return this.server.kill();
    await this.server.ask("stop");
    await this.server.close();
  }

  /** Starts a server on the same data and port. Answers when it listened, on the shared clock. */
  async startAgain(): Promise<number> {
    this.server = await startServerPeer();
    await this.server.ask("start", { dataDir: this.#folder, port: this.port });
    return sharedNowMs();
  }

  arrivals(group: string, revision: number): Promise<Arrivals> {
    return this.clients.ask("arrivals", { group, revision });
  }

  async close(): Promise<void> {
    await this.clients.close();
    await this.server.ask("stop").catch(() => undefined);
    await this.server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function startServerPeer(): Promise<Peer<ServerSkills>> {
  return Peer.start<ServerSkills>("./server-child.ts", ["--expose-gc"]);
}

interface FloorPorts {
  readonly tcp: number;
  readonly ws: number;
}

/** The floors' process and its clients, in the process of the fleet's clients. */
export class Floor {
  readonly peer: Peer<FloorSkills>;
  readonly url: string;
  readonly #ports: FloorPorts;
  readonly #clients: Peer<ClientSkills>;

  private constructor(peer: Peer<FloorSkills>, url: string, ports: FloorPorts, clients: Peer<ClientSkills>) {
    this.peer = peer;
    this.url = url;
    this.#ports = ports;
    this.#clients = clients;
  }

  static async start(clients: Peer<ClientSkills>): Promise<Floor> {
    const peer = await Peer.start<FloorSkills>("./floor-child.ts", ["--expose-gc"]);
    const { url, tcpPort, wsPort } = await peer.ask("start");
    return new Floor(peer, url, { tcp: tcpPort, ws: wsPort }, clients);
  }

  get wsPort(): number {
    return this.#ports.ws;
  }

  /** Returns once the floor's end, too, has `n` sockets of the kind, and none of an earlier group. */
  async connect(group: string, speech: "tcp" | "ws", n: number): Promise<void> {
    const port = this.#ports[speech];
    await this.#clients.ask("connect", { group, speech, port, token: "", n, acknowledges: false });
    const deadlineMs = performance.now() + SETTLE_TIMEOUT_MS;
    while ((await this.peer.ask("sockets"))[speech] !== n) {
      if (performance.now() > deadlineMs) throw new Error(`the floor does not have ${n} ${speech} sockets`);
      await sleep(1);
    }
  }

  /** The same as `Fleet.flip`, by the path without flagback. */
  async flip(by: "tcp" | "ws" = "ws"): Promise<{ readonly revision: number }> {
    const { revision } = await post(`${this.url}/flip/${by}`, "", { reason: "benchmark" });
    return { revision: Number(revision) };
  }

  close(): Promise<void> {
    return this.peer.close();
  }
}

async function post(url: string, token: string, body: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`POST ${url}: ${answer.status} ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}
