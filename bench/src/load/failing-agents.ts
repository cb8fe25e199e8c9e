/** A few agents that report runs of a candidate that fails, one at a time, beside runs of stable that succeed. */
import { sharedNowMs } from "./clock.ts";
import { LightClient } from "./light-client.ts";

/** More than one, because one runtime alone decides only where it is the only one. */
const AGENTS = 8;
/** Longer than an outcome takes to be judged, so that each is judged by itself. */
const PAUSE_MS = 50;
/** Failing runs after which the benchmark gives up. */
const MAX_RUNS = 400;

export interface Failing {
  readonly alias: string;
  readonly stable: string;
  readonly candidate: string;
}

export class FailingAgents {
  readonly #clients: readonly LightClient[];
  readonly #seqs: number[];
  #revision = 0;
  #runs = 0;

  private constructor(port: number, token: string) {
    this.#seqs = Array.from({ length: AGENTS }, () => 0);
    this.#clients = this.#seqs.map(
      () => new LightClient({ speech: "flagback", port, token, onRevision: (at, client) => this.#arrived(at, client) }),
    );
  }

  static async connect(port: number, token: string): Promise<FailingAgents> {
    const agents = new FailingAgents(port, token);
    await Promise.all(agents.#clients.map((client) => client.ready()));
    return agents;
  }

  /**
   * Reports failures of the candidate until a change comes. Answers its revision, and when each failure was written to its
   * socket, on the shared clock.
   */
  async reportUntilChange(failing: Failing, after: number): Promise<{ revision: number; sentMs: readonly number[] }> {
    const sentMs: number[] = [];
    while (this.#revision <= after) {
      if (sentMs.length === MAX_RUNS) throw new Error(`${MAX_RUNS} failures in a row changed nothing`);
      this.#report(failing);
      sentMs.push(sharedNowMs());
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    return { revision: this.#revision, sentMs };
  }

  close(): void {
    for (const client of this.#clients) client.destroy();
  }

  #report({ alias, stable, candidate }: Failing): void {
    this.#runs += 1;
    const which = this.#runs % AGENTS;
    const seq = (this.#seqs[which] ?? 0) + 1;
    this.#seqs[which] = seq;
    const outcome = (version: string, status: string) => ({
      runId: `run-${process.pid}-${this.#runs}-${status}`,
      alias,
      version,
      status,
      durationMs: 900,
      assignedSeq: seq,
    });
    const assigned = [candidate, stable].map((version) => ({ alias, version, revision: this.#revision, n: 1 }));
    const items = [outcome(candidate, "failure"), outcome(stable, "success")];
    this.#clients[which]?.sendText(JSON.stringify({ type: "outcomes", seq, assigned, items }));
  }

  #arrived(revision: number, client: LightClient): void {
    client.acknowledge();
    this.#revision = Math.max(this.#revision, revision);
  }
}
