/** The provider fuzz as CI runs it. `npm run fuzz:provider` runs it longer. */
import { expect, test } from "vitest";
import { seedOf } from "../support/seeded-random.ts";
import { fuzz } from "./provider-fuzz/fuzz.ts";

const SECONDS = 20;

test("whatever the network and the server do, no promise of the provider is broken", async () => {
  const seed = seedOf(process.env);
  console.log(`provider fuzz: seed ${seed} (npm run fuzz:provider -- --seconds ${SECONDS} --seed ${seed})`);
  const { violations, ...counts } = await fuzz({ seed, seconds: SECONDS });
  console.log(`provider fuzz: ${JSON.stringify(counts)}`);

  expect(violations).toEqual([]);
  // There was something to break: the runtimes came back, took changes in, evaluated and ran all the time.
  expect(counts.rounds).toBe(SECONDS / 4);
  expect(counts.connections).toBeGreaterThan(40);
  expect(counts.acknowledgements).toBeGreaterThan(40);
  expect(counts.evaluations).toBeGreaterThan(10_000);
  expect(counts.runs).toBeGreaterThan(200);
  expect(counts.changes.done).toBeGreaterThan(100);
}, 300_000);

test("a provider whose clock runs slow trusts its lease for too long, and is caught", async () => {
  const startedMs = performance.now();
  const slow = (nowMs: number) => nowMs / 4;
  const clock = { monotonicMs: () => slow(performance.now() - startedMs), wallMs: () => slow(Date.now()) };
  const { violations } = await fuzz({ seed: 1, seconds: 4, provider: { clock } });
  expect(violations.map(({ rule }) => rule)).toContain("without_lease");
}, 300_000);
