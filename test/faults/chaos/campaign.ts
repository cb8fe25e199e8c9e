/**
 * What the operators do all the time: expose candidates and take them back, engage and release the switch, and keep house.
 * Everything that is taken away is given back, so that there is something to lose again.
 */
import { setTimeout } from "node:timers/promises";
import { SeededRandom } from "../../support/seeded-random.ts";
import { AGENTS, badOf, goodOf, LEASE_MS, tenantOf } from "./cast.ts";
import type { Operator } from "./operator.ts";

export class Campaign {
  readonly #operator: Operator;
  readonly #over = new AbortController();
  readonly #running: Promise<unknown>;

  /** @param seed decides what is done and how long is waited between */
  constructor(operator: Operator, seed: number) {
    this.#operator = operator;
    const random = new SeededRandom(seed);
    this.#running = Promise.all([
      ...AGENTS.map((agent) => this.#rollouts(agent, new SeededRandom(random.seed()))),
      this.#switches(new SeededRandom(random.seed())),
      this.#house(new SeededRandom(random.seed())),
    ]);
  }

  /** Resolves when each operator has finished what it was at. */
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#running;
  }

  /** A bad candidate is for the brain to stop; where it does not come to that, and for a good one, a person does. */
  async #rollouts(agent: string, random: SeededRandom): Promise<void> {
    while (!this.#over.signal.aborted) {
      const isBad = random.chance(0.5);
      const candidate = isBad ? badOf(agent) : goodOf(agent);
      await this.#operator.ask({ kind: "forward", agent, candidate });
      await this.#pause(isBad ? random.between(1_000, 5_000) : random.between(200, 2_000));
      await this.#operator.ask({ kind: "rollback", agent });
      await this.#pause(withdrawalMs(random));
      await this.#operator.ask({ kind: "release", scope: `agent=${agent}` });
      await this.#operator.ask({ kind: "unlock", agent, version: candidate });
      await this.#pause(random.between(0, 500));
    }
  }

  async #switches(random: SeededRandom): Promise<void> {
    while (!this.#over.signal.aborted) {
      const isStop = random.chance(0.1);
      const scope = isStop ? "*" : `tenant=${tenantOf(random.int(0, 1_000))}`;
      await this.#operator.ask(isStop ? { kind: "stop" } : { kind: "engage", scope });
      // Somebody is not sure that it was done, and it changes nothing.
      if (!isStop && random.chance(0.3)) await this.#operator.ask({ kind: "engage", scope });
      await this.#pause(isStop ? random.between(50, 400) : withdrawalMs(random));
      await this.#operator.ask({ kind: "release", scope });
      await this.#pause(random.between(0, 500));
    }
  }

  async #house(random: SeededRandom): Promise<void> {
    while (!this.#over.signal.aborted) {
      await this.#operator.ask({ kind: "token" });
      await this.#operator.ask({ kind: "feedback", agent: random.pick(AGENTS) });
      await this.#pause(random.between(200, 1_000));
      const made = await this.#operator.ask({ kind: "webhook" });
      await this.#pause(random.between(200, 1_000));
      if (made?.kind !== "administered") continue;
      await this.#operator.ask({ kind: "removeWebhook", id: made.target.slice("webhook:".length) });
    }
  }

  async #pause(ms: number): Promise<void> {
    await setTimeout(ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }
}

/** How long something stays withdrawn: often longer than a lease, so that there is a bound to break. */
function withdrawalMs(random: SeededRandom): number {
  return random.chance(0.4) ? LEASE_MS + random.between(200, 2_000) : random.between(50, 800);
}
