import type { Command, World } from "@flagback/core";
import type { Incident } from "@flagback/schemas";
import { expect, test } from "vitest";
import type { Engine } from "../../server/src/engine/engine.ts";
import { convergenceOf } from "../../server/src/recovery/convergence.ts";
import { RecoveryWatch } from "../../server/src/recovery/recovery-watch.ts";
import { PropagationTracker } from "../../server/src/stream/propagation.ts";
import { AT, alias, stop } from "./store-contract/adapter.ts";

const REVISION = 7;
const LATEST = 3;
const LEASE_MS = 15_000;

test("a batch looks at no incident that is settled, nor at one of an earlier rollout", async () => {
  const settled = Array.from({ length: 50 }, (_, i) => counted(incident(`settled-${i}`, { state: "recovered" })));
  const earlier = counted(incident("earlier", { state: "unverified", rolloutNumber: LATEST - 1 }));
  const latest = counted(incident("latest"));
  const all = [...settled, earlier, latest];
  const watch = new RecoveryWatch(partsOf(all));

  for (let batch = 0; batch < 1_000; batch++) watch.wake();

  // Once each, when the watch saw this world first.
  expect(all.map(({ looks }) => looks())).toEqual(all.map(() => 1));
  await watch.close();
});

test("a batch leads to a look at the incident of the latest rollout", async () => {
  const parts = partsOf([incident("earlier", { rolloutNumber: LATEST - 1 }), incident("latest")]);
  const settled = firstCommand(parts);
  const watch = new RecoveryWatch(parts);

  watch.wake();

  expect(await settled).toMatchObject({ kind: "settleIncident", incident: "latest" });
  await watch.close();
});

test("an incident that a change brings is looked at from then on, with the next tick also that of an earlier rollout", async () => {
  const parts = partsOf([]);
  const settled = firstCommand(parts);
  const watch = new RecoveryWatch(parts);

  watch.tick();
  parts.engine.world = worldOf([incident("earlier", { rolloutNumber: LATEST - 1 })]);
  watch.wake();
  watch.tick();

  expect(await settled).toMatchObject({ kind: "settleIncident", incident: "earlier", as: "unverified" });
  await watch.close();
});

test("a rollback whose spread is known has converged when nobody is waited for, whoever else is there", () => {
  let monotonicMs = 0;
  const tracker = new PropagationTracker(() => monotonicMs);
  tracker.committed(REVISION, ["a", "b"]);
  const at = (nowMs: number) =>
    convergenceOf(incident("one"), {
      progress: tracker.progressOf(REVISION),
      haveApplied: () => expect.unreachable("the fleet is asked only where the spread is not known"),
      leaseMs: LEASE_MS,
      upMs: 0,
      nowMs: Date.parse(AT) + nowMs,
    });

  monotonicMs = 30;
  tracker.applied("a", "sdk", REVISION);
  expect(at(50)).toBeUndefined();
  monotonicMs = 80;
  tracker.applied("b", "sdk", REVISION);
  // The last acknowledgement came 80 ms after the commit.
  expect(at(100)).toBe(80);
});

test("a rollback of which somebody's lease ran out has converged when that was seen", () => {
  const tracker = new PropagationTracker(() => 0);
  tracker.committed(REVISION, ["a"]);
  tracker.lapsed("a");
  const nowMs = Date.parse(AT) + 15_000;
  const haveApplied = () => false;

  const convergeMs = convergenceOf(incident("one"), {
    progress: tracker.progressOf(REVISION),
    haveApplied,
    leaseMs: LEASE_MS,
    upMs: 0,
    nowMs,
  });

  expect(convergeMs).toBe(15_000);
});

test("after a restart a rollback has converged once a lease has passed and all who are there follow", () => {
  const after = (upMs: number, follow: boolean) =>
    convergenceOf(incident("one"), {
      progress: undefined,
      haveApplied: () => follow,
      leaseMs: LEASE_MS,
      upMs,
      nowMs: Date.parse(AT) + 60_000,
    });

  expect(after(14_999, true)).toBeUndefined();
  expect(after(15_000, false)).toBeUndefined();
  expect(after(15_000, true)).toBe(60_000);
});

/** In a world where windows are over at once, so that every look leads to a command. */
function partsOf(incidents: readonly Incident[]) {
  const engine: { world: World; execute: Engine["execute"] } = {
    world: worldOf(incidents),
    execute: () => expect.unreachable("nothing is due"),
  };
  return {
    engine,
    book: {
      ledgerOf: () => undefined,
      totalsOf: () => ({ assigned: 0, settled: 0, missing: 0, failures: 0 }),
      ticksWithoutCandidate: () => 0,
      upMs: () => 0,
    },
    hub: { propagation: new PropagationTracker(() => 0), haveApplied: () => false, leaseMs: LEASE_MS },
    now: () => Date.parse(AT),
    onError: () => undefined,
  };
}

/** What the watch commands first; the disk refuses it, so that the world stays as it is. */
function firstCommand({ engine }: ReturnType<typeof partsOf>): Promise<Command> {
  return new Promise((resolve) => {
    engine.execute = (command) => {
      resolve(command);
      return Promise.reject(new Error("the disk is full"));
    };
  });
}

function worldOf(incidents: readonly Incident[]): World {
  return {
    aliases: new Map([["agent", alias("agent", LATEST)]]),
    versions: new Map(),
    killSwitches: new Map(),
    flags: new Map(),
    decisions: new Map(),
    incidents: new Map(incidents.map((each) => [each.id, each])),
    triggers: new Map(),
    asked: new Map(),
    releases: new Map(),
  };
}

function incident(id: string, parts: Partial<Incident> = {}): Incident {
  return { ...stop(id).incident, id, rolloutNumber: LATEST, revision: REVISION, ...parts };
}

/** Counts how often its state is asked for. */
function counted(of: Incident): Incident & { readonly looks: () => number } {
  let looks = 0;
  const { state } = of;
  return Object.defineProperty({ ...of, looks: () => looks }, "state", {
    get: () => {
      looks += 1;
      return state;
    },
  });
}
