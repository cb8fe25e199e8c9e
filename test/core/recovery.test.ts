/**
 * What counts for a recovery, what follows from it, and what is kept of two payloads.
 */
import { asRecoveryOutcome, type RecoveryFacts, recoveryStep } from "@flagback/core";
import type { Incident, Outcome } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";

const OUTCOME: Outcome = { runId: "r", alias: "agent", version: "agent@1", status: "success" };

test.each([
  // DESIGN 7: runs with blocked writes count by their model, provider, tool and agent errors; a blocked call is no error.
  ["a run that goes on after a blocked write is good", { blockedWrites: 1 }, "success"],
  ["a run that ended as blocked is good", { status: "blocked" }, "success"],
  [
    "a failure that the block's own error caused is good",
    { status: "failure", errorOrigin: "policy", blockedWrites: 1 },
    "success",
  ],
  ["a model's error is bad, blocked or not", { status: "failure", errorOrigin: "model", blockedWrites: 1 }, "failure"],
  ["a run that ended as blocked after an agent's error is bad", { status: "blocked", errorOrigin: "agent" }, "failure"],
  ["a failure that names no origin is bad", { status: "failure", blockedWrites: 2 }, "failure"],
] as const)("%s", (_name, report, status) => {
  const judged = asRecoveryOutcome({ ...OUTCOME, ...report });
  expect(judged.status).toBe(status);
  expect(judged.blockedWrites).toBeUndefined();
});

test("what a block changes is left out, and a run without one stays as it is", () => {
  const blocked = { ...OUTCOME, blockedWrites: 1, quality: 0.1, costUsd: 1, metrics: { steps: 3 }, durationMs: 5 };
  expect(asRecoveryOutcome(blocked)).toEqual({ ...OUTCOME, durationMs: 5 });
  const free = { ...OUTCOME, quality: 0.9, costUsd: 1 };
  expect(asRecoveryOutcome(free)).toBe(free);
});

test("a recovery is concluded only when every runtime follows, no candidate runs, and stable is proven healthy", () => {
  fc.assert(
    fc.property(anyFacts(), (facts) => {
      const step = recoveryStep(facts);
      if (step.kind !== "settle" || step.as !== "recovered") return;
      expect(facts.isConverged && facts.isQuiet && facts.candidateRuns === 0).toBe(true);
      expect(["proven", "unprovable"]).toContain(facts.standing?.kind);
      if (facts.standing?.kind === "unprovable") expect(facts.isWindowOver && facts.standing.runs > 0).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test("an open incident never outlives its window, and what a person or a proof has settled stays so", () => {
  fc.assert(
    fc.property(anyFacts(), (facts) => {
      const step = recoveryStep(facts);
      if (facts.incident.state === "open" && facts.isWindowOver) expect(step.kind).toBe("settle");
      if (["recovered", "not_recovered", "closed"].includes(facts.incident.state)) expect(step.kind).toBe("wait");
      // Told once: without news an unverified incident says nothing more.
      if (facts.incident.state === "unverified" && step.kind === "settle") expect(step.as).not.toBe("unverified");
    }),
    { numRuns: 2_000 },
  );
});

function anyFacts(): fc.Arbitrary<RecoveryFacts> {
  return fc.record({
    incident: fc
      .constantFrom("open", "recovered", "unverified", "not_recovered", "closed")
      .map((state) => ({ state, candidate: "agent@2", target: "agent@1" }) as Incident),
    isConverged: fc.boolean(),
    candidateRuns: fc.constantFrom(0, 0, 0, 2),
    isQuiet: fc.boolean(),
    standing: fc.option(
      fc.record({
        kind: fc.constantFrom("proven", "broken", "unprovable", "open"),
        health: fc.constant([]),
        runs: fc.nat(100),
      }),
      { nil: undefined },
    ),
    isWindowOver: fc.boolean(),
    isSuperseded: fc.boolean(),
  });
}
