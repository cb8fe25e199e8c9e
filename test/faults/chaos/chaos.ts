/**
 * A chaos run: a real server that is killed again and again, real runtimes behind broken networks, operators who change
 * things all the while, and a checker that judges everything that was seen.
 */
import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SeededRandom } from "../../support/seeded-random.ts";
import { machineMs } from "../lease-bound/machine-clock.ts";
import { AlertReceiver } from "./alert-receiver.ts";
import { Campaign } from "./campaign.ts";
import { AGENTS, configuration, isCandidate } from "./cast.ts";
import { bundleServer, ChaosServer } from "./chaos-server.ts";
import { judge, type Standing, standingAt } from "./checker.ts";
import { DatabaseReader } from "./database-reader.ts";
import { Fleet } from "./fleet.ts";
import { type ChaosEvent, RULES, type Violation } from "./history.ts";
import { Operator } from "./operator.ts";
import { type Action, type Life, type Round, type ServerFault, scheduleOf } from "./schedule.ts";
import { SlowReaders } from "./slow-readers.ts";
import { SmallDisk } from "./small-disk.ts";
import { Tally, type TallySums } from "./tally.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long faults are injected; healing comes on top. */
  readonly seconds: number;
  readonly runtimes: number;
  readonly say?: (line: string) => void;
  /** Told each round's history, in the order of time, with what it began from. */
  readonly seen?: (before: Standing, events: readonly ChaosEvent[]) => void;
}

export interface ChaosReport extends TallySums {
  readonly seed: number;
  readonly runtimes: number;
  readonly rounds: number;
  /** Rules that were kept and broken. */
  readonly passed: number;
  readonly failed: number;
  readonly violations: readonly Violation[];
  /** What could not be done here, and why. */
  readonly skipped: readonly string[];
}

/** A handshake that was lost takes ten seconds to be given up, and reconnects are up to ten seconds apart. */
const HEAL_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const FULL_FOR_A_PROBE = { kind: "diskFull", forMs: 1_500 } as const;
/** Violations that are said as they are found; one defect breaks its rule at every read. */
const MAX_SAID = 20;

export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const run = await ChaosRun.open(options);
  try {
    return await run.all();
  } finally {
    await run.close();
  }
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #closers: (() => unknown)[] = [];
  readonly #tally = new Tally();
  readonly #violations: Violation[] = [];
  readonly #skipped: string[] = [];
  #events: ChaosEvent[] = [];
  #folder = "";
  #disk: SmallDisk | null = null;
  #server!: ChaosServer;
  #receiver!: AlertReceiver;
  #operator!: Operator;
  #readers!: SlowReaders;
  #reader!: DatabaseReader;
  #fleet!: Fleet;
  #fleetToken = "";
  #standing!: Standing;
  /** Lives of the round that is on; empty while everything is healed. */
  #lives: Life[] = [];
  #life: Life | null = null;
  /** In this round, by a runtime. */
  #isCandidateRead = false;
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(options: ChaosOptions) {
    this.#options = options;
  }

  static async open(options: ChaosOptions): Promise<ChaosRun> {
    const run = new ChaosRun(options);
    try {
      await run.#begin();
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  async all(): Promise<ChaosReport> {
    const { seed, seconds, runtimes, say = () => undefined } = this.#options;
    const rounds = scheduleOf(seed, seconds, runtimes);
    for (const [i, round] of rounds.entries()) {
      await this.#attack(round);
      const begunMs = machineMs();
      await this.#heal();
      const healedMs = machineMs() - begunMs;
      await this.#judge();
      const found = `${this.#violations.length} violations`;
      say(`round ${i + 1} of ${rounds.length}: in step after ${Math.round(healedMs)} ms, ${found}`);
    }
    const failed = new Set(this.#violations.map(({ rule }) => rule)).size;
    return {
      seed,
      runtimes,
      rounds: rounds.length,
      passed: RULES.length - failed,
      failed,
      violations: this.#violations,
      skipped: this.#skipped,
      ...this.#tally.sums({ changes: this.#operator.counts, slowReadersClosed: this.#readers.closed }),
    };
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  async #begin(): Promise<void> {
    const { seed, runtimes } = this.#options;
    const random = new SeededRandom(seed + 1);
    const record = (event: ChaosEvent) => this.#record(event);
    this.#folder = await mkdtemp(join(tmpdir(), "flagback-chaos-"));
    this.#closers.push(() => rm(this.#folder, { recursive: true, force: true }));
    const disk = SmallDisk.mount(this.#folder);
    if (typeof disk === "string") this.#skipped.push(`a disk that is really full: ${disk}`);
    else {
      this.#disk = disk;
      this.#closers.push(() => disk.unmount());
    }
    const dataDir = join(this.#folder, "data");
    const file = await bundleServer();
    this.#closers.push(() => rm(file));
    const server = new ChaosServer(file, dataDir, record);
    this.#server = server;
    this.#closers.push(() => server.kill());
    await server.start();
    const receiver = await AlertReceiver.start(record);
    this.#receiver = receiver;
    this.#closers.push(() => receiver.close());
    const { fleetToken, readerToken, webhookId } = await this.#configure();
    const decoyUrl = new URL("decoy", receiver.url).href;
    const { url, adminToken } = server;
    this.#operator = new Operator({ url, adminToken, runtimeToken: fleetToken, decoyUrl }, record);
    this.#closers.push(() => this.#operator.close());
    this.#readers = new SlowReaders(url, readerToken, adminToken, random.seed());
    this.#closers.push(() => this.#readers.close());
    this.#reader = new DatabaseReader(dataDir, webhookId);
    await server.kill();
    this.#standing = standingAt(await this.#reader.read());
    await server.start();
    this.#fleetToken = fleetToken;
    const parts = { url, token: fleetToken, runtimes, seed: random.seed() };
    this.#fleet = await Fleet.open(parts, record);
    this.#closers.push(() => this.#fleet.kill());
  }

  async #configure(): Promise<{ fleetToken: string; readerToken: string; webhookId: string }> {
    await this.#post("/v1/apply", configuration());
    const token = (name: string, aliases: readonly string[]) =>
      this.#post<{ secret: string }>("/v1/tokens", { role: "runtime", name, aliases });
    const { webhook } = await this.#post<{ webhook: { id: string } }>("/v1/webhooks", { url: this.#receiver.url });
    return {
      fleetToken: (await token("fleet", AGENTS)).secret,
      readerToken: (await token("slow readers", [])).secret,
      webhookId: webhook.id,
    };
  }

  /** Work and faults, for as long as the round lasts; and the operators come to an end. */
  async #attack(round: Round): Promise<void> {
    this.#isCandidateRead = false;
    this.#lives = [...round.lives];
    this.#life = null;
    await this.#server.kill();
    const supervised = this.#supervise();
    await this.#fleet.work();
    const campaign = new Campaign(this.#operator, round.seed);
    const startedMs = performance.now();
    const errands: Promise<void>[] = [];
    for (const action of round.actions) {
      await until(startedMs + action.atMs);
      this.#perform(action, errands);
    }
    await until(startedMs + round.forMs);
    await this.#candidateRead();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#mend();
    this.#lives = [];
    this.#life = null;
    await this.#server.kill();
    await supervised;
    await campaign.stop();
    await Promise.all(errands);
  }

  /** On a slow machine all of a round may be a server's start. It goes on until there was something to withdraw. */
  async #candidateRead(): Promise<void> {
    const deadlineMs = machineMs() + HEAL_TIMEOUT_MS;
    while (!this.#isCandidateRead && machineMs() < deadlineMs) await until(performance.now() + POLL_MS);
  }

  /** Starts the next server whenever one has ended, until the round is over; then one that lives. */
  async #supervise(): Promise<void> {
    for (;;) {
      this.#life = this.#lives[0] ?? null;
      if (this.#lives.length > 1) this.#lives.shift();
      const life = this.#life;
      await this.#server.start(failpointOf(life, this.#brokenFile));
      if (life === null) return;
      // Nothing is probed on a disk that is well.
      if (life.kind === "diesAt" && life.point.startsWith("probe")) this.#meet(FULL_FOR_A_PROBE, []);
      await this.#server.ended();
      // Whoever killed it otherwise has taken the life away before.
      if (life.kind === "diesAt" && this.#life === life) this.#tally.diedAt(life.point);
    }
  }

  #perform(action: Action, errands: Promise<void>[]): void {
    const target = action.target === "runtime" ? `runtime ${action.runtime}` : "server";
    this.#record({ kind: "fault", atMs: machineMs(), fault: action.fault.kind, target });
    if (action.target === "runtime") this.#fleet.perform(action.runtime, action.fault);
    else this.#meet(action.fault, errands);
  }

  #meet(fault: ServerFault, errands: Promise<void>[]): void {
    switch (fault.kind) {
      case "kill":
        this.#life = null;
        void this.#server.kill();
        return;
      case "stall":
        this.#server.stall();
        return this.#later(fault.forMs, () => this.#server.goOn());
      case "serverClockJump":
        return this.#server.jumpClock(fault.ms);
      case "diskFull":
        this.#server.diskBreaks();
        this.#disk?.fill();
        return this.#later(fault.forMs, () => this.#mendDisk());
      case "diskErrors":
        this.#server.diskBreaks();
        writeFileSync(this.#brokenFile, "");
        return this.#later(fault.forMs, () => this.#mendDisk());
      case "slowReaders":
        errands.push(this.#readers.begin(fault.count, this.#operator));
        return;
      case "refusedAlert":
        return this.#receiver.refuseNext();
    }
  }

  /** Nothing is broken any more. */
  #mend(): void {
    this.#server.goOn();
    this.#mendDisk();
    this.#receiver.heal();
    this.#readers.heal();
  }

  /** Both ways, where they overlap. */
  #mendDisk(): void {
    this.#disk?.mend();
    rmSync(this.#brokenFile, { force: true });
    this.#server.diskIsMended();
  }

  /** Waits until everybody is in step and every alert has come; who is not in time is part of the history. */
  async #heal(): Promise<void> {
    await this.#fleet.heal();
    for (let revision = -1; revision !== (await this.#revision()); ) {
      revision = await this.#revision();
      await this.#fleet.comeIntoStep(revision, HEAL_TIMEOUT_MS);
    }
    const deadlineMs = machineMs() + HEAL_TIMEOUT_MS;
    for (let waiting = 1; waiting > 0; ) {
      waiting = await this.#waitingAlerts();
      if (machineMs() > deadlineMs) {
        this.#record({ kind: "notInStep", atMs: machineMs(), who: "the outbox", detail: `${waiting} alerts wait` });
        return;
      }
      await until(performance.now() + POLL_MS);
    }
  }

  /** Reads what the server left behind, and judges the round. */
  async #judge(): Promise<void> {
    const { say = () => undefined, seen = () => undefined } = this.#options;
    await this.#server.kill();
    // What it had only put into its journal, the next one takes out of it.
    await this.#server.start();
    await this.#server.kill();
    const facts = await this.#reader.read();
    this.#record({ kind: "database", atMs: machineMs(), facts });
    const events = this.#events.toSorted((a, b) => timeOf(a) - timeOf(b));
    this.#events = [];
    seen(this.#standing, events);
    const { violations, standing } = judge(this.#standing, events);
    for (const { rule, detail } of violations.slice(0, Math.max(0, MAX_SAID - this.#violations.length))) {
      say(`VIOLATION ${rule}: ${detail}`);
    }
    this.#violations.push(...violations);
    this.#standing = standing;
  }

  #record(event: ChaosEvent): void {
    this.#events.push(event);
    if (event.kind === "read") this.#isCandidateRead ||= isCandidate(event.runtime, event.version);
    this.#tally.note(event);
  }

  get #brokenFile(): string {
    return join(this.#folder, "broken");
  }

  async #revision(): Promise<number> {
    const { headers } = await this.#call("/v1/snapshot", { token: this.#fleetToken });
    return Number(headers.get("flagback-revision"));
  }

  async #waitingAlerts(): Promise<number> {
    const text = await (await this.#call("/metrics")).text();
    return Number(/^flagback_outbox_depth (\d+)/m.exec(text)?.[1]);
  }

  async #post<Body>(path: string, body: unknown): Promise<Body> {
    return (await (await this.#call(path, { method: "POST", body: JSON.stringify(body) })).json()) as Body;
  }

  async #call(
    path: string,
    { token = this.#server.adminToken, ...request }: { token?: string; method?: string; body?: string } = {},
  ): Promise<Response> {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(request.body && { "content-type": "application/json" }),
    };
    const answer = await fetch(this.#server.url + path, { ...request, headers });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    return answer;
  }

  #later(afterMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, afterMs);
    this.#timers.add(timer);
  }
}

function failpointOf(life: Life | null, brokenFile: string): string | null {
  switch (life?.kind) {
    case undefined:
      return null;
    case "diesAt":
      return `kill ${life.point} ${life.reaches}`;
    case "hasABadDisk":
      return `io-error *.${life.moment} ${brokenFile}`;
  }
}

/** Reads count from when they began. */
function timeOf(event: ChaosEvent): number {
  return event.kind === "read" ? event.firstMs : event.atMs;
}

function until(atMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - performance.now())));
}
