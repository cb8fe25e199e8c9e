/**
 * One runtime can't decide alone (DESIGN 8). Counts come from BRAIN 2.2's evidence table: under an error rate of 5 %, 7
 * failures of 20 stop, and so do 3 of 3.
 */
import { expect, test } from "vitest";
import { eventually, exposing, failures, successes } from "../../support/rollout.ts";

test.each([2, 5, 50])("one of %i runtimes that sends only failures stops nothing, and is named", async (count) => {
  const rollout = await exposing();
  const [hostile, ...healthy] = await rollout.runtimes(count);
  for (const runtime of healthy) await runtime.report({ candidate: successes(4), stable: successes(4) });
  await hostile?.report({ candidate: failures(100), stable: successes(4) });
  const standing = await rollout.judged(4 * (count - 1) + 100);
  expect(standing).toMatchObject({
    state: "exposing",
    verdict: "allow",
    heldBackBy: hostile?.instance,
    carriers: [{ runtime: hostile?.instance, share: 1 }],
    weight: 50_000,
  });
  // The evidence alone would have been enough.
  expect(standing.logE).toBeGreaterThan(standing.threshold ?? Number.NaN);
  expect(standing.explanation).toContain(hostile?.instance);
  expect(await rollout.audit("rollback")).toEqual([]);
  expect(await rollout.engaged()).toEqual([]);
});

test.each([3, 5, 50])(
  "one of %i runtimes that sends only successes does not keep a candidate that fails on all others",
  async (count) => {
    const rollout = await exposing();
    const [flattering, ...honest] = await rollout.runtimes(count);
    await flattering?.report({ candidate: successes(10), stable: successes(4) });
    // Seven failures of ten on each of the others: of three runtimes, leaving one of them out leaves 7 of 20, which stop.
    for (const runtime of honest) {
      await runtime.report({ candidate: [...failures(7), ...successes(3)], stable: successes(4) });
    }
    const stop = await rollout.rolledBack();
    expect(stop).toMatchObject({ decision: "stop", reason: "sla_breach", actor: { kind: "brain" } });
    expect((await rollout.standing()).carriers.map(({ runtime }) => runtime)).not.toContain(flattering?.instance);
  },
);

test("a runtime that is alone on the alias decides alone", async () => {
  const rollout = await exposing();
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: failures(3) });
  // By BRAIN 2.2's formulas, of one tick: ln(0.7 * sum of pi_j (q_j / 0.05)^3).
  expect((await rollout.rolledBack()).evidence?.[0]).toMatchObject({
    n: 3,
    k: 3,
    logE: expect.closeTo(6.680325522, 8),
  });
});

test("a second runtime that confirms the failures of the first brings the stop that was held back", async () => {
  const rollout = await exposing();
  const [first, second] = await rollout.runtimes(2);
  await second?.report({ candidate: successes(1) });
  await first?.report({ candidate: failures(10) });
  await eventually("the first is held back", async () => (await rollout.standing()).heldBackBy === first?.instance);
  await second?.report({ candidate: failures(3) });
  const stop = await rollout.rolledBack();
  expect(stop).toMatchObject({ reason: "sla_breach", evidence: [{ n: 14, k: 13 }] });
});
