import { type CheckedAlias, saysSomething, syntheticStop, withCheck } from "@flagback/core";
import { type Alias, type Outcome, Policy, type Rollout } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";

const NOW = "2026-01-02T03:04:05.678Z";
const CANDIDATE = "agent@2";
const STABLE = "agent@1";

const rollout = (inARow?: number): Rollout =>
  ({
    rolloutNumber: 3,
    candidate: CANDIDATE,
    target: STABLE,
    policy: Policy.parse({ guardrails: [], ...(inARow === undefined ? {} : { onSyntheticFailure: { inARow } }) }),
  }) as Rollout;
const alias = (rolloutNumber = 3) => ({ name: "agent", rolloutNumber }) as Alias;
const check = (status: Outcome["status"], version = CANDIDATE, more: Partial<Outcome> = {}): Outcome => ({
  runId: "r",
  alias: "agent",
  version,
  status,
  ...more,
});
const counted = (checks: readonly Outcome[], rolloutNumber?: number): CheckedAlias =>
  checks.reduce<CheckedAlias>((before, each) => withCheck(before, alias(rolloutNumber), each, NOW), {
    alias: "agent",
    rolloutNumber: rolloutNumber ?? 3,
    versions: [],
  });

test("three failures in a row stop where the policy says three, and not two, nor three around a success", () => {
  const stop = (...statuses: Outcome["status"][]) => syntheticStop(rollout(3), counted(statuses.map((s) => check(s))));
  expect(stop("failure", "timeout")).toBeUndefined();
  expect(stop("failure", "success", "failure", "failure")).toBeUndefined();
  expect(stop("success", "failure", "timeout", "failure")).toBe(
    "3 synthetic checks in a row failed, the last with failure",
  );
});

test("what stops says what the last failure was", () => {
  const checks = counted([check("timeout", CANDIDATE, { errorType: "no_answer" })]);
  expect(syntheticStop(rollout(1), checks)).toBe("a synthetic check failed, the last with timeout: no_answer");
});

test("nothing stops without a rule, by checks of another rollout, or while stable fails too", () => {
  const failing = [check("failure"), check("failure")];
  expect(syntheticStop(rollout(), counted(failing))).toBeUndefined();
  expect(syntheticStop(rollout(2), counted(failing, 2))).toBeUndefined();
  expect(syntheticStop(rollout(2), counted([...failing, check("failure", STABLE)]))).toBeUndefined();
  expect(
    syntheticStop(rollout(2), counted([...failing, check("failure", STABLE), check("success", STABLE)])),
  ).toBeDefined();
});

test("another rollout begins with no checks", () => {
  const before = counted([check("failure"), check("failure")]);
  expect(withCheck(before, alias(4), check("failure"), NOW)).toMatchObject({
    rolloutNumber: 4,
    versions: [{ checks: 1, failures: 1, failuresInARow: 1 }],
  });
});

test.each([
  ["cancelled", {}],
  ["blocked", {}],
  ["failure", { isDefault: true }],
  ["failure", { errorOrigin: "client" }],
  ["failure", { drill: true }],
  ["success", { blockedWrites: 1 }],
] as const)("a check that was %s with %j says nothing about its version", (status, more) => {
  expect(saysSomething(check(status, CANDIDATE, more))).toBe(false);
});

test("counts are those of a plain recount, whatever comes", () => {
  const some = fc.record({
    status: fc.constantFrom<Outcome["status"]>("success", "failure", "timeout", "escalated"),
    version: fc.constantFrom(CANDIDATE, STABLE, "agent@3"),
  });
  fc.assert(
    fc.property(fc.array(some, { maxLength: 60 }), (given) => {
      const { versions } = counted(given.map(({ status, version }) => check(status, version)));
      for (const { version, checks, failures, failuresInARow } of versions) {
        const bad = given
          .filter((each) => each.version === version)
          .map(({ status }) => status === "failure" || status === "timeout");
        expect([checks, failures]).toEqual([bad.length, bad.filter(Boolean).length]);
        expect(failuresInARow).toBe(bad.length - 1 - bad.lastIndexOf(false));
      }
      expect(versions.map(({ version }) => version).sort()).toEqual(
        [...new Set(given.map(({ version }) => version))].sort(),
      );
    }),
  );
});

test("of very many versions only the last sixteen that were checked are kept", () => {
  const { versions } = counted(Array.from({ length: 40 }, (_, n) => check("success", `agent@${n}`)));
  expect(versions.map(({ version }) => version)).toEqual(Array.from({ length: 16 }, (_, n) => `agent@${n + 24}`));
});

test("the run ids of the last 500 checks go with the counts, into the next rollout too", () => {
  const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `check-${from + i}`);
  const then = (before: CheckedAlias | undefined, runIds: readonly string[], rolloutNumber: number) =>
    runIds.reduce<CheckedAlias | undefined>(
      (checks, runId) => withCheck(checks, alias(rolloutNumber), check("success", STABLE, { runId }), NOW),
      before,
    );
  const first = then(undefined, ids(0, 2), 3);
  expect(first?.runIds).toEqual(ids(0, 2));
  const next = then(first, ids(2, 501), 4);
  expect(next?.runIds).toEqual(ids(1, 501));
  expect(next?.versions).toMatchObject([{ checks: 499 }]);
});
