/**
 * The server's side of drills: who runs one, the shadow and the tokens that it uses, and the records. Whoever runs a drill says
 * each step as it ends; one that is not heard of any more is ended here, so that nothing of it stays.
 */
import {
  aliasesUnderDrill,
  type DrillPass,
  drillPairOf,
  drillPolicy,
  guardrailsThatSee,
  hasPassed,
  passesOf,
  shadowOf,
  switchesOf,
  twinOf,
  VERSION_KINDS,
} from "@flagback/core";
import {
  type Actor,
  DEFAULT_KILL_SWITCH,
  DRILL_PREFIX,
  type Drill,
  DrillFault,
  type DrillStep,
  type FinishDrillBody,
  FlagbackError,
  MAX_DRILL_STEPS,
  type Refusal,
  type StartDrillBody,
  type StartedDrill,
  type Token,
} from "@flagback/schemas";
import { SYSTEM } from "../actors.ts";
import type { Tokens } from "../auth/tokens.ts";
import type { Engine } from "../engine/engine.ts";
import { MAX_KEPT_DRILLS, MAX_RUNNING_DRILLS, SILENT_DRILL_MS } from "../limits.ts";
import type { Store } from "../store/store.ts";
import type { Hub } from "../stream/hub.ts";
import { authorityFinding } from "./checks/authority.ts";
import { type Finding, together } from "./checks/finding.ts";
import { payloadFinding } from "./checks/payload.ts";
import { planFinding } from "./checks/plan.ts";

const RESTARTED = "the server was started again while it ran";

export interface DrillBookParts {
  readonly engine: Engine;
  readonly store: Pick<Store, "putDrill">;
  readonly tokens: Tokens;
  readonly hub: Pick<Hub, "revoke">;
  readonly leaseMs: number;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  /** Oldest first. */
  readonly loaded: readonly Drill[];
}

/** What is held only while a drill runs. */
interface Running {
  readonly tokens: readonly Token[];
  heardMs: number;
}

export class DrillBook {
  readonly #parts: DrillBookParts;
  readonly #drills: Map<number, Drill>;
  /** By alias. An entry without tokens is a drill that is just being started. */
  readonly #running = new Map<string, Running>();
  #passes: readonly DrillPass[] | undefined;

  constructor(parts: DrillBookParts) {
    this.#parts = parts;
    this.#drills = new Map(parts.loaded.map((drill) => [drill.number, drill]));
  }

  /** Newest first. */
  list(alias?: string): Drill[] {
    return [...this.#drills.values()].filter((drill) => alias === undefined || drill.alias === alias).reverse();
  }

  /** @throws FlagbackError `drill_not_found` */
  find(id: string): Drill {
    const found = [...this.#drills.values()].find((drill) => drill.id === id);
    if (found) return found;
    throw new FlagbackError({
      code: "drill_not_found",
      message: `There is no drill ${id}.`,
      hint: "List them with flagback drills.",
    });
  }

  /** For a policy's `requireDrill`. */
  get passes(): readonly DrillPass[] {
    this.#passes ??= passesOf([...this.#drills.values()]);
    return this.#passes;
  }

  /** When the alias's last drills ended that passed, and that did not; milliseconds since 1970, 0 where there was none. */
  lastEnds(alias: string): { readonly passMs: number; readonly failMs: number } {
    let passMs = 0;
    let failMs = 0;
    for (const { state, endedAt, ...drill } of this.#drills.values()) {
      if (drill.alias !== alias || endedAt === undefined) continue;
      if (state === "passed") passMs = Math.max(passMs, Date.parse(endedAt));
      else failMs = Math.max(failMs, Date.parse(endedAt));
    }
    return { passMs, failMs };
  }

  /**
   * Fills the alias's shadow, lends the tokens, and looks at what can be known beforehand.
   * @throws FlagbackError `drill_in_progress` where one is under way, or the refusal of the alias's rollback plan
   */
  async start(body: StartDrillBody, actor: Actor): Promise<StartedDrill> {
    const { alias } = body;
    this.#refuseSecond(alias);
    this.#running.set(alias, { tokens: [], heardMs: this.#parts.monotonicMs() });
    try {
      return await this.#started(body, actor);
    } catch (error) {
      this.#running.delete(alias);
      throw error;
    }
  }

  /** @throws FlagbackError `drill_not_found` or `drill_not_running` */
  async addSteps(id: string, steps: readonly DrillStep[]): Promise<Drill> {
    const drill = this.#findRunning(id);
    const running = this.#running.get(drill.alias);
    if (running) running.heardMs = this.#parts.monotonicMs();
    if (steps.length === 0) return drill;
    return this.#keep({ ...drill, steps: [...drill.steps, ...steps].slice(0, MAX_DRILL_STEPS) });
  }

  /** Ends a drill and empties its shadow. Whether it passed follows from its steps. @throws FlagbackError as `addSteps` */
  async finish(id: string, { times, because }: FinishDrillBody, actor: Actor): Promise<Drill> {
    const drill = this.#findRunning(id);
    const { engine } = this.#parts;
    const incidents = [...engine.world.incidents.values()]
      .filter((incident) => incident.alias === drill.shadow && incident.openedAt >= drill.startedAt)
      .map((incident) => incident.id);
    const ended = { ...drill, times: [...times], incidents, ...(because === undefined ? {} : { because }) };
    const state = because !== undefined ? "abandoned" : hasPassed(ended) ? "passed" : "failed";
    const running = this.#running.get(drill.alias);
    // What the disk refuses now is tried again once the drill has been silent for long.
    if (running) running.heardMs = this.#parts.monotonicMs();
    await engine.execute({ kind: "closeDrill", alias: drill.alias, state, summary: summaryOf(ended, state) }, actor);
    const kept = await this.#keep({ ...ended, state, endedAt: this.#nowText() });
    this.#letGo(drill.alias);
    return kept;
  }

  /** Ends drills that nobody has said anything about for too long, and what an earlier run of the server left. */
  async endLost(): Promise<void> {
    const before = this.#parts.monotonicMs() - SILENT_DRILL_MS;
    for (const { id, alias } of this.list().filter(({ state }) => state === "running")) {
      const running = this.#running.get(alias);
      if (running && running.heardMs >= before) continue;
      const because = running ? `nothing was heard of it for ${SILENT_DRILL_MS / 1_000} s` : RESTARTED;
      await this.finish(id, { times: [], because }, SYSTEM);
    }
    const { engine } = this.#parts;
    for (const alias of aliasesUnderDrill(engine.world).filter((each) => !this.#running.has(each))) {
      const summary = `Emptied ${shadowOf(alias)}: ${RESTARTED}.`;
      await engine.execute({ kind: "closeDrill", alias, state: "abandoned", summary }, SYSTEM);
    }
  }

  async #started(body: StartDrillBody, actor: Actor): Promise<StartedDrill> {
    const { engine, leaseMs } = this.#parts;
    const pair = drillPairOf(engine.world, body.alias, body.candidate);
    if ("code" in pair) throw new FlagbackError(pair);
    const { faults, left } = faultsOf(body, pair.policy);
    await engine.execute({ kind: "openDrill", alias: body.alias, candidate: body.candidate, faults }, actor);
    const shadow = shadowOf(body.alias);
    const candidate = this.#shadowVersion(pair.candidate.id);
    const target = this.#shadowVersion(pair.target.id);
    const number = 1 + Math.max(0, ...this.#drills.keys());
    const switches = switchesOf(body.alias, pair.policy);
    const { policy, adjustments } = drillPolicy(pair.policy, faults, (key) => switches.get(key) ?? key);
    const drill: Drill = {
      id: `drill_${number}`,
      number,
      alias: body.alias,
      shadow,
      kind: pair.candidate.kind,
      candidate: pair.candidate.id,
      target: pair.target.id,
      candidateDigest: candidate.digest,
      targetDigest: target.digest,
      isStandIn: pair.isStandIn,
      faults,
      adjustments: [...adjustments, ...left],
      targetMs: VERSION_KINDS[pair.candidate.kind].targetMs,
      state: "running",
      startedAt: this.#nowText(),
      startedBy: actor.name,
      steps: [
        timed("plan", () => planFinding(policy, pair.target, faults)),
        timed("payloads", () =>
          together(
            [pair.target, ...(pair.isStandIn ? [] : [pair.candidate])].map((version) =>
              payloadFinding(pair.alias, version, engine.payloads),
            ),
          ),
        ),
        timed("authority", () => authorityFinding(this.#parts.tokens.list())),
      ],
      times: [],
      incidents: [],
    };
    await this.#keep(drill);
    const lent = this.#lend(drill);
    return {
      drill,
      policy,
      candidate,
      target,
      twin: twinOf(candidate.id),
      switches: policy.onBreach.engage,
      writeSwitch: switches.get(DEFAULT_KILL_SWITCH) ?? DEFAULT_KILL_SWITCH,
      leaseMs,
      tokens: lent,
    };
  }

  #lend({ alias, shadow, number }: Drill): StartedDrill["tokens"] {
    const { tokens } = this.#parts;
    const lend = (role: Token["role"], aliases: string[]) =>
      tokens.lend({ role, name: `drill ${number} of ${alias}`.slice(0, 128), aliases }, "system", this.#nowText());
    const runtime = lend("runtime", [shadow]);
    const operator = lend("operator", []);
    const viewer = lend("viewer", []);
    this.#running.set(alias, {
      tokens: [runtime.token, operator.token, viewer.token],
      heardMs: this.#parts.monotonicMs(),
    });
    return { runtime: runtime.secret, operator: operator.secret, viewer: viewer.secret };
  }

  #letGo(alias: string): void {
    for (const { id } of this.#running.get(alias)?.tokens ?? []) {
      this.#parts.tokens.takeBack(id);
      this.#parts.hub.revoke(id);
    }
    this.#running.delete(alias);
  }

  async #keep(drill: Drill): Promise<Drill> {
    const tooMany = [...this.#drills.values()]
      .filter((each) => each.alias === drill.alias && each.state !== "running" && each.number !== drill.number)
      .slice(0, -MAX_KEPT_DRILLS)
      .map(({ number }) => number);
    await this.#parts.store.putDrill(drill, tooMany);
    this.#drills.set(drill.number, drill);
    for (const number of tooMany) this.#drills.delete(number);
    this.#passes = undefined;
    return drill;
  }

  #refuseSecond(alias: string): void {
    const [running] = this.list(alias).filter(({ state }) => state === "running");
    if (this.#running.has(alias) || running) {
      const which = running
        ? `Drill ${running.number} of ${alias}, started by ${running.startedBy}`
        : `A drill of ${alias}`;
      throw new FlagbackError(inProgress(`${which} is under way.`));
    }
    if (this.#running.size < MAX_RUNNING_DRILLS) return;
    throw new FlagbackError(inProgress(`${this.#running.size} drills are under way, which is the limit.`));
  }

  #findRunning(id: string): Drill {
    const drill = this.find(id);
    if (drill.state === "running") return drill;
    throw new FlagbackError({
      code: "drill_not_running",
      message: `${id} is over: it ${drill.because === undefined ? drill.state : `was abandoned, because ${drill.because}`}.`,
      hint: `Start another with flagback drill ${drill.alias}.`,
    });
  }

  #shadowVersion(id: string): { readonly id: string; readonly digest: string } {
    const found = this.#parts.engine.world.versions.get(`${DRILL_PREFIX}${id}`);
    if (!found) throw new Error(`the drill of ${id} was opened without its shadow`);
    return { id: found.id, digest: found.digest };
  }

  #nowText(): string {
    return new Date(this.#parts.now()).toISOString();
  }
}

/** `all` leaves out what no guardrail would see, and says so. */
function faultsOf(
  { faults }: StartDrillBody,
  policy: Parameters<typeof guardrailsThatSee>[0],
): { readonly faults: DrillFault[]; readonly left: readonly string[] } {
  const inOrder = (wanted: readonly DrillFault[]) => DrillFault.options.filter((fault) => wanted.includes(fault));
  if (faults !== "all") return { faults: inOrder(faults), left: [] };
  const seen = DrillFault.options.filter((fault) => guardrailsThatSee(policy, fault).length > 0);
  const left = DrillFault.options.filter((fault) => !seen.includes(fault));
  return {
    // A policy that sees nothing fails at its plan, and says so.
    faults: seen.length > 0 ? seen : ["errors"],
    left: left.map((fault) => `${fault} was not rehearsed: no guardrail that can decide looks at it.`),
  };
}

function timed(name: DrillStep["name"], look: () => Finding): DrillStep {
  const begunMs = performance.now();
  const { isMet, why } = look();
  return { name, result: isMet ? "pass" : "fail", why, ms: Math.round(performance.now() - begunMs) };
}

function summaryOf({ number, alias, because, steps }: Drill, state: "passed" | "failed" | "abandoned"): string {
  const failed = steps.filter(({ result }) => result === "fail").map(({ name }) => name);
  switch (state) {
    case "passed":
      return `Drill ${number} of ${alias} passed, ${steps.length} steps.`;
    case "failed":
      return `Drill ${number} of ${alias} failed: ${failed.length > 0 ? [...new Set(failed)].join(", ") : "not every step was done"}.`;
    case "abandoned":
      return `Drill ${number} of ${alias} was abandoned: ${because}.`;
  }
}

function inProgress(message: string): Refusal {
  return {
    code: "drill_in_progress",
    message,
    hint: "Wait for its end (flagback drills shows it); one that is not heard of any more is ended by the server.",
  };
}
