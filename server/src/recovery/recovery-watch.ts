/**
 * Verifies what became of each rollback: woken by outcomes and by the server's tick, it notes when every runtime follows, and
 * commands what the proof, or its absence, leads to.
 */
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
  /** The world's incidents as they were last looked through. */
  #incidents: World["incidents"] | undefined;
  #verifying: readonly string[] = [];

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  /** Something came that may prove a recovery, or time has passed. Called for each batch, so it must cost next to nothing. */
  wake(): void {
    if (this.#isClosed || this.#running || this.#timer || this.#verifyingIds().length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#lookAtAll().finally(() => {
        this.#running = undefined;
      });
    }, LOOK_DELAY_MS);
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

  /** The map is another one whenever one of its incidents is, and there may be thousands of them that are settled. */
  #verifyingIds(): readonly string[] {
    const { incidents } = this.#parts.engine.world;
    if (incidents !== this.#incidents) {
      this.#incidents = incidents;
      this.#verifying = [...incidents.values()].filter(isVerifying).map(({ id }) => id);
    }
    return this.#verifying;
  }

  async #lookAtAll(): Promise<void> {
    for (const id of this.#verifyingIds()) {
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

function recoveryOf(standing: RecoveryStanding | undefined): Recovery {
  return { runs: standing?.runs ?? 0, guardrails: [...(standing?.health ?? [])] };
}
