/**
 * One runtime of a drill: a process of its own with the real provider, whose agent runs well until it is told otherwise.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type DrillReport, faultyRun, healthyRun, versionDigest } from "@flagback/core";
import { FlagbackProvider, type FlagbackProviderOptions, type RunReport, withRun } from "@flagback/provider";
import type { DrillFault, Json } from "@flagback/schemas";
import { type Client, OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import { digestOf } from "../engine/canonical.ts";
import type { FromRuntime, Part, Seen, SwitchReading, ToRuntime } from "./messages.ts";

/** How often runs are started; each time as many as are due. */
const START_EVERY_MS = 20;
/** A pause of the process longer than this is not made up for with a burst. */
const MAX_ARREARS_MS = 500;
const REPORT_EVERY_MS = 100;
/** Runs really last so long, whatever they report. */
const RUN_MS = 5;
/** Users that a probe resolves for: enough that a candidate with a hundredth of the traffic is met. */
const PROBED_USERS = 500;
/** Revisions whose readings are kept; production's changes make some too. */
const MAX_READINGS = 256;

type MakeProvider = (options: FlagbackProviderOptions) => FlagbackProvider;

/** Plays until told to end, or until the drill is gone. Tests bring a provider that does not do what it should. */
export async function playDrillRuntime(
  makeProvider: MakeProvider = (options) => new FlagbackProvider(options),
): Promise<void> {
  const tell = (message: FromRuntime) => process.send?.(message);
  const ended = new AbortController();
  process.once("disconnect", () => ended.abort());
  let agents: Agents | undefined;
  const begun = new Promise<Part | undefined>((resolve) => {
    ended.signal.addEventListener("abort", () => resolve(undefined));
    process.on("message", (message: ToRuntime) => {
      if (message.type === "begin") resolve(message.part);
      else if (message.type === "inject") agents?.inject(message.fault);
      else if (message.type === "probe") {
        const { number } = message;
        void agents?.probe().then((seen) => tell({ type: "probed", number, seen }));
      } else ended.abort();
    });
  });
  tell({ type: "up" });
  const part = await begun;
  if (part === undefined) return;

  const log = (message: string) => void tell({ type: "log", message });
  const { url, token, writeSwitch } = part;
  const provider = makeProvider({ url, token, writeSwitch, logger: { warn: log, error: log } });
  await OpenFeature.setProviderAndWait(provider);
  const client = OpenFeature.getClient();
  const playing = new Agents(client, provider, part);
  agents = playing;
  client.addHandler(ProviderEvents.ConfigurationChanged, () => playing.readSwitches());
  tell({ type: "ready", instance: provider.instance });
  const reporting = setInterval(() => tell({ type: "progress", ...(agents?.counted ?? NOTHING) }), REPORT_EVERY_MS);

  if (!ended.signal.aborted) await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
  await agents.stop();
  clearInterval(reporting);
  await OpenFeature.close();
  if (process.connected) process.disconnect();
}

const NOTHING = { runs: 0, candidateRuns: 0 };

class Agents {
  readonly #client: Client;
  readonly #provider: FlagbackProvider;
  readonly #part: Part;
  readonly #healthy: DrillReport;
  readonly #open = new Set<Promise<void>>();
  readonly #readings: SwitchReading[] = [];
  readonly #timer: NodeJS.Timeout;
  #fault: DrillFault | null = null;
  /** Resolves when the fault is over, for runs that it keeps silent. */
  #mended: Promise<void> = Promise.resolve();
  #mend: () => void = () => {};
  #runs = 0;
  #candidateRuns = 0;

  constructor(client: Client, provider: FlagbackProvider, part: Part) {
    this.#client = client;
    this.#provider = provider;
    this.#part = part;
    this.#healthy = healthyRun(part.policy);
    let lastMs = performance.now();
    let due = 0;
    let started = 0;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      due += (Math.min(nowMs - lastMs, MAX_ARREARS_MS) / 1_000) * part.runsPerSecond;
      lastMs = nowMs;
      for (; due >= 1; due -= 1) {
        started += 1;
        const running = this.#run(started).finally(() => this.#open.delete(running));
        this.#open.add(running);
      }
    }, START_EVERY_MS);
  }

  get counted(): { readonly runs: number; readonly candidateRuns: number } {
    return { runs: this.#runs, candidateRuns: this.#candidateRuns };
  }

  inject(fault: DrillFault | null): void {
    this.#fault = fault;
    this.#mend();
    this.#mended = new Promise((resolve) => {
      this.#mend = resolve;
    });
  }

  /** Looks as an agent would, for many users. */
  async probe(): Promise<Seen> {
    const { shadow, candidate, target } = this.#part;
    const payloads = new Map<string, string>();
    let candidates = 0;
    for (let user = 0; user < PROBED_USERS; user += 1) {
      const context = { targetingKey: `probe-${user}`, agent: shadow };
      const version = await this.#client.getStringValue(shadow, target, context);
      if (version === candidate) candidates += 1;
      if (payloads.has(version)) continue;
      const payload = await this.#client.getObjectValue<Json & object>(shadow, {}, context);
      // Of an empty payload the digest is that of the version's own id.
      const id = version.replace(/^drill\./, "");
      payloads.set(version, versionDigest({ id, payload: payload as Json }, digestOf));
    }
    await this.readSwitches();
    return {
      revision: this.#provider.revision,
      resolutions: PROBED_USERS,
      candidate: candidates,
      payloads: [...payloads].map(([version, digest]) => ({ version, digest })),
      readings: [...this.#readings],
    };
  }

  /** Reads them as an agent would. A stop may be over before a probe comes: what it looked like is kept. */
  async readSwitches(): Promise<void> {
    const { shadow, switches } = this.#part;
    let reading: SwitchReading;
    do {
      const { revision } = this.#provider;
      const writesAllowed = this.#provider.writesAllowed({ agent: shadow });
      const read: Record<string, boolean> = {};
      for (const key of switches) read[key] = await this.#client.getBooleanValue(key, false, { agent: shadow });
      reading = { revision, writesAllowed, switches: read };
      // One that mixes two revisions says nothing of either.
    } while (reading.revision !== this.#provider.revision);
    this.#readings.push(reading);
    if (this.#readings.length > MAX_READINGS) this.#readings.shift();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.inject(null);
    await Promise.all(this.#open);
  }

  async #run(n: number): Promise<void> {
    const { shadow, candidate, target, policy } = this.#part;
    await withRun({ client: this.#client, agent: shadow, userId: `user-${process.pid}-${n}` }, async (run) => {
      const version = await run.pin(shadow, target);
      const fault = version === candidate ? this.#fault : null;
      if (version === candidate) this.#candidateRuns += 1;
      const report = fault === null ? this.#healthy : faultyRun(policy, fault);
      // A run that hangs: it says nothing before the fault is over.
      if (report === null) await this.#mended;
      else await delay(RUN_MS);
      run.report((report ?? { status: "cancelled" }) as RunReport);
    });
    this.#runs += 1;
  }
}
