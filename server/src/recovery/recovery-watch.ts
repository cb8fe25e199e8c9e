/**
 * Verifies what became of each rollback: woken by outcomes and by the server's tick, it notes when every runtime follows, and
 * commands what the proof, or its absence, leads to.
 */
import { setImmediate } from "node:timers/promises";
import { isVerifying, type RecoveryStanding, recoveryStanding, recoveryStep, type World } from "@flagback/core";
import { durationMs, type Incident, type Recovery } from "@flagback/schemas";
import { BRAIN } from "../actors.ts";
import type { Engine } from "../engine/engine.ts";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import { recoveryKey } from "../store/ledger-writes.ts";
import type { Hub } from "../stream/hub.ts";
import { convergenceOf } from "./convergence.ts";

/** Outcomes that arrive within this of each other are looked at together. */
const LOOK_DELAY_MS = 20;
/** So many ticks without a run of the candidate say that none is being served; runtimes announce them within 250 ms. */
const QUIET_TICKS = 2;

/** Incidents looked at before others have their turn. */
const LOOKS_PER_TURN = 100;

/** Ids of the incidents whose recovery may still be concluded. */
interface Verifying {
  readonly all: readonly string[];
  /** Those of an alias's latest rollout: outcomes of stable prove nothing of an earlier one. */
  readonly latest: readonly string[];
}

export interface RecoveryParts {
  readonly engine: Pick<Engine, "world" | "execute">;
  readonly book: Pick<LedgerBook, "ledgerOf" | "totalsOf" | "ticksWithoutCandidate" | "upMs">;
  readonly hub: Pick<Hub, "propagation" | "haveApplied" | "leaseMs">;
  readonly now: () => number;
  readonly onError: (error: unknown, incident: string) => void;
}

export class RecoveryWatch {
  readonly #parts: RecoveryParts;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;
  /** The next look is at all of them. */
  #isAllDue = false;
  /** The world as it was last looked through. */
  #seen: (Pick<World, "incidents" | "aliases"> & Verifying) | undefined;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  /** Something came that may prove a recovery. Called for each batch, so it must cost next to nothing. */
  wake(): void {
    if (this.#isClosed || this.#running || this.#timer || this.#verifying().latest.length === 0) return;
    this.#lookSoon();
  }

  /** Time has passed. Looks also at the incidents of earlier rollouts, of which hardly anything comes any more. */
  tick(): void {
    if (this.#isClosed || this.#verifying().all.length === 0) return;
    this.#isAllDue = true;
    if (!this.#running && !this.#timer) this.#lookSoon();
  }

  /** Finishes what is under way and stops. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** What speaks for stable by now; what was concluded from, once the state is final. */
  recoveryOf(incident: Incident): Recovery {
    return isVerifying(incident)
      ? recoveryOf(this.#standingOf(incident))
      : (incident.recovery ?? recoveryOf(undefined));
  }

  #standingOf({ alias, rolloutNumber }: Incident): RecoveryStanding | undefined {
    const { engine, book } = this.#parts;
    if (engine.world.aliases.get(alias)?.rolloutNumber !== rolloutNumber) return undefined;
    const ledger = book.ledgerOf(recoveryKey({ alias, rolloutNumber }));
    return ledger && recoveryStanding(ledger);
  }

  #lookSoon(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#look().finally(() => {
        this.#running = undefined;
      });
    }, LOOK_DELAY_MS);
  }

  /** A map is another one whenever something in it is, and there may be thousands of incidents that are settled. */
  #verifying(): Verifying {
    const { incidents, aliases } = this.#parts.engine.world;
    if (incidents !== this.#seen?.incidents || aliases !== this.#seen.aliases) {
      this.#seen = { incidents, aliases, ...verifyingOf(incidents, aliases) };
    }
    return this.#seen;
  }

  async #look(): Promise<void> {
    const ids = this.#verifying()[this.#isAllDue ? "all" : "latest"];
    this.#isAllDue = false;
    for (const [index, id] of ids.entries()) {
      if (index > 0 && index % LOOKS_PER_TURN === 0) await setImmediate();
      try {
        await this.#noteConvergence(id);
        await this.#conclude(id);
      } catch (error) {
        // The next tick looks again.
        this.#parts.onError(error, id);
      }
    }
  }

  async #noteConvergence(id: string): Promise<void> {
    const { engine, hub, book, now } = this.#parts;
    const incident = engine.world.incidents.get(id);
    if (!incident || incident.convergeMs !== undefined) return;
    const convergeMs = convergenceOf(incident, {
      progress: hub.propagation.progressOf(incident.revision),
      haveApplied: () => hub.haveApplied(incident.revision),
      leaseMs: hub.leaseMs,
      upMs: book.upMs(),
      nowMs: now(),
    });
    if (convergeMs === undefined) return;
    await engine.execute({ kind: "convergeIncident", incident: id, convergeMs }, BRAIN);
  }

  async #conclude(id: string): Promise<void> {
    const { engine, book, now } = this.#parts;
    const incident = engine.world.incidents.get(id);
    if (!incident) return;
    const { alias, candidate, rolloutNumber } = incident;
    const key = { alias, rolloutNumber };
    const rollout = engine.world.aliases.get(alias)?.rollout;
    const isSuperseded = rollout?.rolloutNumber !== rolloutNumber;
    const standing = this.#standingOf(incident);
    const windowMs = durationMs(rollout?.policy.recovery.window ?? "0s");
    const step = recoveryStep({
      incident,
      isConverged: incident.convergeMs !== undefined,
      candidateRuns: book.totalsOf({ ...recoveryKey(key), version: candidate }).assigned,
      isQuiet: book.ticksWithoutCandidate(key) >= QUIET_TICKS,
      standing,
      isWindowOver: now() - Date.parse(incident.openedAt) >= windowMs,
      isSuperseded,
    });
    if (step.kind === "wait") return;
    const recovery = recoveryOf(standing);
    await engine.execute({ kind: "settleIncident", incident: id, as: step.as, because: step.because, recovery }, BRAIN);
  }
}

function verifyingOf(incidents: World["incidents"], aliases: World["aliases"]): Verifying {
  const all = [...incidents.values()].filter(isVerifying);
  const latest = all.filter(({ alias, rolloutNumber }) => aliases.get(alias)?.rolloutNumber === rolloutNumber);
  return { all: all.map(({ id }) => id), latest: latest.map(({ id }) => id) };
}

function recoveryOf(standing: RecoveryStanding | undefined): Recovery {
  return { runs: standing?.runs ?? 0, guardrails: [...(standing?.health ?? [])] };
}
