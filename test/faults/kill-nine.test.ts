/**
 * `kill -9` of the server at random moments under load: what was acknowledged is there exactly once.
 */
import { randomBytes } from "node:crypto";
import { type AuditEvent, decodeServerFrame, type OutcomeBatch, SUBPROTOCOL } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import { SeededRandom, seedOf } from "../support/seeded-random.ts";
import { eventually, SUPPORT_AGENT, testFolder } from "../support/server.ts";
import { serverProcess } from "../support/server-process.ts";

const KILLS = 20;
const VERSION = "support-agent@2.3.3";

test("after 20 kills every acknowledged change and every acknowledged outcome is there exactly once", async () => {
  const seed = seedOf(process.env);
  console.log(`kill -9: seed ${seed} (FLAGBACK_SEED repeats the moments)`);
  const random = new SeededRandom(seed);
  const dataDir = await testFolder();
  const first = await serverProcess(dataDir);
  const admin = bearer(first.adminToken ?? "");
  await post(first.url, "/v1/apply", admin, SUPPORT_AGENT);
  // From here on the version that the load reports on is the stable arm of a ledger.
  await post(first.url, "/v1/aliases/support-agent/rollout", admin, { candidate: "support-agent@2.4.0" });
  const { secret } = (await post(first.url, "/v1/tokens", admin, { role: "runtime", name: "load" })) as {
    secret: string;
  };
  const runtime = new LoadingRuntime(secret);
  const operator = new LoadingOperator(admin);
  await first.kill();

  for (let round = 0; round < KILLS; round++) {
    const server = await serverProcess(dataDir);
    runtime.start(server.url);
    operator.start(server.url);
    // Every other server dies only once it has acknowledged something, so that a slow machine has something to lose, too.
    const before = { sent: runtime.sent, acknowledged: operator.acknowledged.length };
    const isLoaded = () => runtime.sent > before.sent && operator.acknowledged.length > before.acknowledged;
    if (round % 2 === 1) await eventually("a batch is sent and a change acknowledged", isLoaded, 30_000);
    // A moment is the condition here: the server dies at any point of its work.
    await moment(20 + random.fraction() * 250);
    await server.kill();
    await Promise.all([runtime.stopped(), operator.stopped()]);
  }

  const last = await serverProcess(dataDir);
  await runtime.finish(last.url);
  const events = await auditOf(last.url, admin);
  const database = await counts(last, dataDir);

  expect(runtime.acknowledgedThrough).toBe(runtime.sent);
  expect(database.through).toBe(runtime.sent);
  // Each batch announces two runs and settles two, one of them a failure.
  expect(database.totals).toEqual({ assigned: 2 * runtime.sent, settled: 2 * runtime.sent, failures: runtime.sent });
  expect(database.inTicks).toEqual({ assigned: 2 * runtime.sent, settled: 2 * runtime.sent });
  expect(database.runs).toBe(2 * runtime.sent);
  const seen = events.filter((event) => event.action === "kill_switch.engage").map((event) => event.reason);
  for (const reason of operator.acknowledged) expect(seen.filter((each) => each === reason)).toHaveLength(1);
  expect(new Set(seen).size).toBe(seen.length);
  // The load was real: there was something to lose.
  expect(runtime.sent).toBeGreaterThanOrEqual(KILLS / 2);
  expect(operator.acknowledged.length).toBeGreaterThanOrEqual(KILLS / 2);
  expect(revisionsOf(events)).toEqual(revisionsOf(events).toSorted((a, b) => a - b));
}, 240_000);

/** Sends batches one after the other, and again from where the server says it stands, as the protocol asks. */
class LoadingRuntime {
  /** Batches made so far. */
  sent = 0;
  acknowledgedThrough = 0;
  readonly #token: string;
  readonly #instance = randomBytes(16).toString("hex");
  #socket: WebSocket | undefined;
  #closed: Promise<void> = Promise.resolve();
  #isFinishing = false;
  #onAcknowledged: (() => void) | undefined;

  constructor(token: string) {
    this.#token = token;
  }

  start(url: string): void {
    const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, [SUBPROTOCOL], {
      headers: bearer(this.#token),
    });
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.on("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.on("open", () => socket.send(JSON.stringify({ type: "hello", instance: this.#instance, sdk: "load" })));
    socket.on("message", (data) => this.#receive(socket, data.toString()));
    onTestFinished(() => socket.terminate());
  }

  async stopped(): Promise<void> {
    await this.#closed;
  }

  /** Connects a last time and waits until everything is acknowledged. */
  async finish(url: string): Promise<void> {
    this.#isFinishing = true;
    this.start(url);
    await new Promise<void>((resolve) => {
      this.#onAcknowledged = () => {
        if (this.acknowledgedThrough === this.sent) resolve();
      };
    });
    this.#socket?.close();
    await this.#closed;
  }

  #receive(socket: WebSocket, frame: string): void {
    const decoded = decodeServerFrame(frame);
    if (decoded.kind !== "message") throw new Error(`the server sent ${decoded.kind}`);
    const { message } = decoded;
    if (message.type === "hello") {
      // Nothing that was acknowledged may be missing now.
      if (message.outcomesThrough < this.acknowledgedThrough) {
        throw new Error(`acknowledged ${this.acknowledgedThrough}, but the server counted ${message.outcomesThrough}`);
      }
      this.acknowledgedThrough = message.outcomesThrough;
      this.#sendFrom(socket, message.outcomesThrough + 1);
    } else if (message.type === "outcomesAck") {
      expect(message.rejected ?? []).toEqual([]);
      this.acknowledgedThrough = Math.max(this.acknowledgedThrough, message.through);
      if (this.acknowledgedThrough === this.sent) this.#sendFrom(socket, this.sent + 1);
      this.#onAcknowledged?.();
    }
  }

  #sendFrom(socket: WebSocket, seq: number): void {
    const inFlight = 4;
    const target = this.#isFinishing ? this.sent : Math.max(this.sent, seq + inFlight - 1);
    for (let next = seq; next <= target; next++) socket.send(JSON.stringify(batch(next)));
    this.sent = target;
    this.#onAcknowledged?.();
  }
}

/** Engages the kill switch again and again, each time with another reason. */
class LoadingOperator {
  readonly acknowledged: string[] = [];
  readonly #headers: Record<string, string>;
  #made = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(headers: Record<string, string>) {
    this.#headers = headers;
  }

  start(url: string): void {
    this.#running = this.#run(url);
  }

  async stopped(): Promise<void> {
    await this.#running;
  }

  async #run(url: string): Promise<void> {
    for (;;) {
      const number = this.#made++;
      const reason = `reason ${number}`;
      try {
        const scope = `tenant=t${number}`;
        await post(url, "/v1/kill-switches/writes_disabled/engage", this.#headers, { scope, reason });
        this.acknowledged.push(reason);
        await post(url, "/v1/kill-switches/writes_disabled/release", this.#headers, { scope, reason });
      } catch {
        // The server is gone; nothing is known of the last change.
        return;
      }
    }
  }
}

function batch(seq: number): OutcomeBatch {
  const item = (index: number, status: string) => ({
    assignedSeq: seq,
    runId: `run-${seq}-${index}`,
    alias: "support-agent",
    version: VERSION,
    status,
  });
  return {
    type: "outcomes",
    seq,
    overdue: [],
    assigned: [{ alias: "support-agent", version: VERSION, revision: 1_000, n: 2 }],
    items: [item(0, "success"), item(1, "failure")],
  };
}

async function counts(server: { kill(): Promise<void> }, dataDir: string) {
  await server.kill();
  // What the last start has logged is folded into the tables by the next one.
  const store = openSqliteStore(`${dataDir}/flagback.db`);
  store.load({ history: 1, runs: 1 });
  store.close();
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(`${dataDir}/flagback.db`);
  const row = <T>(sql: string) => database.prepare(sql).get() as T;
  const result = {
    through: row<{ through: number }>("SELECT through FROM instances").through,
    totals: row<object>(
      "SELECT sum(assigned) AS assigned, sum(settled) AS settled, sum(failures) AS failures FROM totals",
    ),
    inTicks: row<object>(`SELECT sum(counts ->> '$.assigned') AS assigned, sum(counts ->> '$.settled') AS settled FROM
      (SELECT stable AS counts FROM frozen_ticks UNION ALL SELECT counts FROM open_ticks WHERE arm = 'stable')`),
    runs: row<{ runs: number }>("SELECT sum(json_array_length(run_ids)) AS runs FROM runs").runs,
  };
  database.close();
  return result;
}

async function auditOf(url: string, headers: Record<string, string>): Promise<AuditEvent[]> {
  const events: AuditEvent[] = [];
  for (;;) {
    const answer = await fetch(`${url}/v1/audit?limit=1000&after=${events.at(-1)?.id ?? 0}`, { headers });
    const page = ((await answer.json()) as { events: AuditEvent[] }).events;
    if (page.length === 0) return events;
    events.push(...page);
  }
}

function revisionsOf(events: readonly AuditEvent[]): number[] {
  return events.flatMap((event) => event.revision ?? []);
}

async function post(url: string, path: string, headers: Record<string, string>, body: unknown): Promise<unknown> {
  const isText = typeof body === "string";
  const answer = await fetch(url + path, {
    method: "POST",
    headers: { ...headers, "content-type": isText ? "text/yaml" : "application/json" },
    body: isText ? body : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

function moment(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
