import type { Command, World } from "@flagback/core";
import type { Incident } from "@flagback/schemas";
import { expect, test } from "vitest";
import type { Engine } from "../../server/src/engine/engine.ts";
import { convergenceOf } from "../../server/src/recovery/convergence.ts";
import { RecoveryWatch } from "../../server/src/recovery/recovery-watch.ts";
import { PropagationTracker } from "../../server/src/stream/propagation.ts";

const OPENED_AT = "2026-01-01T00:00:00.000Z";
const REVISION = 7;

test("a batch looks at no incident that is settled", async () => {
  const settled = Array.from({ length: 50 }, (_, i) => counted(incident(`settled-${i}`, "recovered")));
  const open = counted(incident("open", "open"));
  const watch = new RecoveryWatch(partsOf([...settled, open]));

  for (let batch = 0; batch < 1_000; batch++) watch.wake();

  // Once each, when the watch saw this world first.
  expect([...settled, open].map(({ looks }) => looks())).toEqual(Array(51).fill(1));
  await watch.close();
});

test("an incident that a change brings is looked at from then on", async () => {
  const parts = partsOf([]);
  const settled = new Promise<Command>((resolve) => {
    parts.engine.execute = (command) => {
      resolve(command);
      return Promise.reject(new Error("the disk is full"));
    };
  });
  const watch = new RecoveryWatch({ ...parts, onError: () => undefined });

  watch.wake();
  parts.engine.world = worldOf([incident("opened", "open")]);
  watch.wake();

  // Its alias has no rollout any more, so nothing can prove it.
  expect(await settled).toMatchObject({ kind: "settleIncident", incident: "opened", as: "unverified" });
  await watch.close();
});

test("a rollback whose spread is known has converged when nobody is waited for, whoever else is there", () => {
  let monotonicMs = 0;
  const tracker = new PropagationTracker(() => monotonicMs);
  tracker.committed(REVISION, ["a", "b"]);
  const at = (nowMs: number) =>
    convergenceOf(incident("one", "open"), {
      progress: tracker.progressOf(REVISION),
      haveApplied: () => expect.unreachable("the fleet is asked only where the spread is not known"),
      leaseMs: 15_000,
      upMs: 0,
      nowMs: Date.parse(OPENED_AT) + nowMs,
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
  const nowMs = Date.parse(OPENED_AT) + 15_000;
  const haveApplied = () => false;

  const convergeMs = convergenceOf(incident("one", "open"), {
    progress: tracker.progressOf(REVISION),
    haveApplied,
    leaseMs: 15_000,
    upMs: 0,
    nowMs,
  });

  expect(convergeMs).toBe(15_000);
});

test("after a restart a rollback has converged once a lease has passed and all who are there follow", () => {
  const after = (upMs: number, follow: boolean) =>
    convergenceOf(incident("one", "open"), {
      progress: undefined,
      haveApplied: () => follow,
      leaseMs: 15_000,
      upMs,
      nowMs: Date.parse(OPENED_AT) + 60_000,
    });

  expect(after(14_999, true)).toBeUndefined();
  expect(after(15_000, false)).toBeUndefined();
  expect(after(15_000, true)).toBe(60_000);
});

function partsOf(incidents: readonly Incident[]) {
  const engine: { world: World; execute: Engine["execute"] } = {
    world: worldOf(incidents),
    execute: () => Promise.reject(new Error("nothing is due")),
  };
  return {
    engine,
    book: {
      ledgerOf: () => undefined,
      totalsOf: () => ({ assigned: 0, settled: 0, missing: 0, failures: 0 }),
      ticksWithoutCandidate: () => 0,
      upMs: () => 0,
    },
    hub: { propagation: new PropagationTracker(() => 0), haveApplied: () => false, leaseMs: 15_000 },
    now: () => Date.parse(OPENED_AT),
    onError: (error: unknown) => expect.unreachable(String(error)),
  };
}

function worldOf(incidents: readonly Incident[]): World {
  return {
    aliases: new Map(),
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

function incident(id: string, state: Incident["state"]): Incident {
  return {
    id,
    alias: "support-agent",
    candidate: "v2",
    target: "v1",
    rolloutNumber: 1,
    stage: "exposure",
    reason: "manual",
    decisionId: "d".repeat(64),
    state,
    openedAt: OPENED_AT,
    revision: REVISION,
    evidence: [],
    timeline: [],
    notes: [],
  };
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
