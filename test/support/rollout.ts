/**
 * A real server with a rollout under way, and runtimes that report to it by raw sockets, for tests of verdicts.
 */
import type { Ledger } from "@flagback/core";
import type {
  AuditEvent,
  Decision,
  GuardrailEvidence,
  Incident,
  Outcome,
  PolicyInput,
  SwitchEntry,
} from "@flagback/schemas";
import { RawRuntime } from "./raw-runtime.ts";
import { type Answer, eventually, type TestServer, testServer } from "./server.ts";

export { eventually } from "./server.ts";

export const ALIAS = "support-agent";
export const STABLE = "support-agent@2.3.3";
export const CANDIDATE = "support-agent@2.4.0";

/** An outcome without what the runtime adds. */
export type Report = Partial<Outcome>;

/** The answer of `GET /v1/aliases/{name}/rollout`, as far as tests read it. */
export interface Standing {
  readonly state: string;
  readonly weight: number;
  readonly hold: { readonly cause: string; readonly summary: string } | null;
  readonly decisionId: string | null;
  readonly verdict: string | null;
  readonly explanation: string | null;
  readonly carriers: readonly { readonly runtime: string; readonly share: number }[];
  readonly heldBackBy: string | null;
  readonly evidence: readonly GuardrailEvidence[];
  readonly logE: number | null;
  readonly threshold: number | null;
  readonly traffic: readonly {
    readonly version: string;
    readonly assigned: number;
    readonly settled: number;
    readonly missing: number;
  }[];
}

/** What a decision was judged on and what came of it. */
export type StoredDecision = Decision & { readonly input: Ledger | null };

type Call = TestServer["call"];

/** What a test asks of a server whose `support-agent` has a rollout; also for one in a process of its own. */
export class RolloutView {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  async standing(): Promise<Standing> {
    return (await this.#call<Standing>("GET", `/v1/aliases/${ALIAS}/rollout`)).body;
  }

  async audit(action?: string): Promise<AuditEvent[]> {
    const { body } = await this.#call<{ events: AuditEvent[] }>("GET", "/v1/audit?limit=1000");
    return action === undefined ? body.events : body.events.filter((event) => event.action === action);
  }

  async incidents(): Promise<Incident[]> {
    return (await this.#call<{ incidents: Incident[] }>("GET", "/v1/incidents")).body.incidents;
  }

  /** What holds `writes_disabled` engaged. */
  async engaged(): Promise<readonly SwitchEntry[]> {
    const { body } = await this.#call<{ killSwitches: { key: string; engaged: SwitchEntry[] }[] }>(
      "GET",
      "/v1/kill-switches",
    );
    return body.killSwitches.find(({ key }) => key === "writes_disabled")?.engaged ?? [];
  }

  async allocation(): Promise<Record<string, number>> {
    const { body } = await this.#call<{ allocation: { version: string; weight: number }[] }>(
      "GET",
      `/v1/aliases/${ALIAS}`,
    );
    const weights: Record<string, number> = {};
    for (const { version, weight } of body.allocation) weights[version] = (weights[version] ?? 0) + weight;
    return weights;
  }

  replay(decisionId: string): Promise<Answer> {
    return this.#call("GET", `/v1/decisions/${decisionId}/replay`);
  }

  act(verb: string, body: object = { reason: "a test" }): Promise<Answer> {
    return this.#call("POST", `/v1/aliases/${ALIAS}/${verb}`, body);
  }

  /** Waits for the rollback, and answers its audit row. */
  rolledBack(): Promise<AuditEvent> {
    return eventually("the candidate is rolled back", async () => (await this.audit("rollback"))[0]);
  }

  /** Waits for a hold by the brain, and answers its audit row. */
  held(cause: string): Promise<AuditEvent> {
    return eventually(`the rollout is held for ${cause}`, async () =>
      (await this.audit("rollout.hold")).find((event) => event.reason === cause),
    );
  }

  /** Waits until the brain asks people, and answers its audit row. */
  asked(): Promise<AuditEvent> {
    return eventually("people are asked", async () => (await this.audit("decision.open"))[0]);
  }

  /** Waits until the brain has judged this many runs of the candidate, pending ones included. */
  judged(n: number): Promise<Standing> {
    return eventually(`${n} runs of the candidate are judged`, async () => {
      const standing = await this.standing();
      return standing.evidence[0]?.n === n && standing;
    });
  }
}

export class RolloutServer extends RolloutView {
  readonly server: TestServer;
  readonly #token: string;

  constructor(server: TestServer, token: string) {
    super(server.call);
    this.server = server;
    this.#token = token;
  }

  runtime(instance?: string): Promise<Reporter> {
    return Reporter.connect(this.server.url, this.#token, instance);
  }

  /** As many runtimes, connected. */
  runtimes(count: number): Promise<Reporter[]> {
    return Promise.all(Array.from({ length: count }, () => this.runtime()));
  }

  /** Reports without an assignment, by HTTP. */
  reportByHttp(outcomes: readonly Report[]) {
    return this.server.call<{ accepted: number; duplicates: number }>(
      "POST",
      "/v1/outcomes",
      { outcomes: outcomes.map((outcome) => ({ alias: ALIAS, version: CANDIDATE, status: "success", ...outcome })) },
      { token: this.#token },
    );
  }

  async restart(): Promise<RolloutServer> {
    return new RolloutServer(await this.server.restart(), this.#token);
  }

  /** Closes the server and reads the decision of the rollback as it is stored. */
  async storedDecision(): Promise<StoredDecision> {
    const { decisionId } = await this.standing();
    await this.server.close();
    const { default: Database } = await import("better-sqlite3");
    const database = new Database(`${this.server.dataDir}/flagback.db`, { readonly: true });
    try {
      const found = database.prepare("SELECT document FROM decisions WHERE id = ?").pluck().get(decisionId);
      return JSON.parse(found as string) as StoredDecision;
    } finally {
      database.close();
    }
  }
}

/** What one batch announces and settles: reports, or a number of runs that are only announced. */
export interface Batch {
  readonly candidate?: readonly Report[] | number;
  readonly stable?: readonly Report[] | number;
}

/** A runtime that announces runs and reports how they went. */
export class Reporter {
  readonly raw: RawRuntime;
  readonly #name: string;
  #seq = 0;
  #runs = 0;

  private constructor(raw: RawRuntime) {
    this.raw = raw;
    this.#name = raw.instance.slice(0, 8);
  }

  static async connect(url: string, token: string, instance?: string): Promise<Reporter> {
    return new Reporter(await RawRuntime.connect(url, token, instance === undefined ? {} : { instance }));
  }

  get instance(): string {
    return this.raw.instance;
  }

  /** Goes on from the batches and run ids of the same instance's earlier connection. */
  resumeAfter(earlier: Reporter): this {
    this.#seq = earlier.#seq;
    this.#runs = earlier.#runs;
    return this;
  }

  /** Announces runs and reports those that are given as reports. Answers the batch's number once it is durable. */
  async report(batch: Batch): Promise<number> {
    this.#seq += 1;
    const arms = [
      { version: CANDIDATE, runs: batch.candidate ?? 0 },
      { version: STABLE, runs: batch.stable ?? 0 },
    ];
    const assigned = arms.flatMap(({ version, runs }) => {
      const n = typeof runs === "number" ? runs : runs.length;
      return n === 0 ? [] : [{ alias: ALIAS, version, revision: 1_000, n }];
    });
    const items = arms.flatMap(({ version, runs }) =>
      typeof runs === "number" ? [] : this.#items(this.#seq, version, runs),
    );
    return this.#send(assigned, items);
  }

  /** Announces and reports runs of another version of the alias. */
  async reportVersion(version: string, reports: readonly Report[]): Promise<number> {
    this.#seq += 1;
    const assigned = [{ alias: ALIAS, version, revision: 1_000, n: reports.length }];
    return this.#send(assigned, this.#items(this.#seq, version, reports));
  }

  /** Reports runs of the candidate that an earlier batch announced. */
  async settle(assignedSeq: number, reports: readonly Report[]): Promise<number> {
    this.#seq += 1;
    return this.#send([], this.#items(assignedSeq, CANDIDATE, reports));
  }

  #items(assignedSeq: number, version: string, reports: readonly Report[]) {
    return reports.map((report) => {
      this.#runs += 1;
      const runId = `${this.#name}-${this.#runs}`;
      return { assignedSeq, runId, alias: ALIAS, version, status: "success", ...report };
    });
  }

  async #send(assigned: readonly object[], items: readonly object[]): Promise<number> {
    const seq = this.#seq;
    this.raw.send({ type: "outcomes", seq, assigned, items });
    await this.raw.next("outcomesAck", (ack) => ack.through >= seq);
    return seq;
  }
}

export function failures(n: number, report: Report = {}): Report[] {
  return Array.from({ length: n }, () => ({ status: "failure", ...report }));
}

export function successes(n: number, report: Report = {}): Report[] {
  return Array.from({ length: n }, () => ({ status: "success", ...report }));
}

/** One stage, so that a stop needs ln(1 / 0.01) = 4.605 and no more. */
const HALF = [{ name: "half", percent: 50 }] as const;
export const ERROR_RATE = { metric: "error_rate", max: 0.05 } as const;

/** A server with a rollout of the candidate under this policy: half of the traffic, at most 5 % errors unless it says so. */
export async function exposing(
  policy: Partial<PolicyInput> = {},
  options: Parameters<typeof testServer>[0] = {},
): Promise<RolloutServer> {
  const server = await testServer(options);
  await startRollout(server.call, policy);
  return new RolloutServer(server, await server.token("runtime"));
}

/** Registers both versions and starts the rollout. */
export async function startRollout(call: Call, policy: Partial<PolicyInput> = {}): Promise<void> {
  const applied = await call("POST", "/v1/apply", {
    versions: [
      { id: STABLE, kind: "prompt", payload: { prompt: "Be helpful." } },
      { id: CANDIDATE, kind: "prompt", payload: { prompt: "Be brief." } },
    ],
    aliases: {
      [ALIAS]: {
        stable: STABLE,
        candidates: [
          { id: STABLE, weight: 100 },
          { id: CANDIDATE, weight: 0 },
        ],
        policy: { guardrails: [ERROR_RATE], stages: HALF, ...policy },
      },
    },
  });
  if (applied.status !== 200) throw new Error(`apply answered ${JSON.stringify(applied.body)}`);
  const started = await call("POST", `/v1/aliases/${ALIAS}/rollout`, { candidate: CANDIDATE });
  if (started.status !== 200) throw new Error(`the rollout did not start: ${JSON.stringify(started.body)}`);
}
