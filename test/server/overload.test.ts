import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_SLOW_DOWN_MS, SLOW_DOWN_AFTER_MS, slowDownFor } from "../../server/src/ledger/overload.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { SUPPORT_AGENT, testServer } from "../support/server.ts";

test("no pause is asked for while counts are durable soon; then one that grows with the wait, to its limit", () => {
  expect([0, 5, SLOW_DOWN_AFTER_MS].map(slowDownFor)).toEqual([0, 0, 0]);
  expect(slowDownFor(500)).toBe(2_000);
  fc.assert(
    fc.property(fc.double({ min: SLOW_DOWN_AFTER_MS + 1, max: 1e9, noNaN: true }), (waitedMs) => {
      const pauseMs = slowDownFor(waitedMs);
      expect(pauseMs).toBeGreaterThan(SLOW_DOWN_AFTER_MS);
      expect(pauseMs).toBeLessThanOrEqual(MAX_SLOW_DOWN_MS);
    }),
  );
});

test("runtimes whose counts waited too long are asked to pause; every outcome is counted all the same", async () => {
  const server = await testServer({ groupCommit: { delayMs: SLOW_DOWN_AFTER_MS + 700 } });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const { revision } = await runtime.next("snapshot");
  const version = "support-agent@2.3.3";
  for (let seq = 1; seq <= 50; seq++) {
    const assigned = [{ alias: "support-agent", version, revision, n: 1 }];
    const item = { assignedSeq: seq, runId: `r${seq}`, alias: "support-agent", version, status: "success" };
    runtime.send({ type: "outcomes", seq, assigned, items: [item] });
    // The first commit comes at once, and the others' rest after it is what they wait for.
    if (seq === 1) await runtime.next("outcomesAck", ({ through }) => through === 1);
  }
  const last = await runtime.next("outcomesAck", ({ through }) => through === 50);
  expect(last.slowDownMs).toBeGreaterThan(SLOW_DOWN_AFTER_MS);
  const metrics = (await server.call<string>("GET", "/metrics")).body;
  expect(metrics).toMatch(/^flagback_outcome_reports_total\{result="accepted"\} 50$/m);
  expect(metrics).toMatch(/^flagback_slow_downs_total [1-9]/m);
});

test("one commit is acknowledged once to each runtime, whatever number of its batches it made durable", async () => {
  const server = await testServer({ groupCommit: { delayMs: 100 } });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  for (let seq = 1; seq <= 20; seq++) runtime.send({ type: "outcomes", seq, assigned: [], items: [] });
  await runtime.next("outcomesAck", ({ through }) => through === 20);
  const acks = runtime.received.filter(({ type }) => type === "outcomesAck");
  const writes = (await server.call<string>("GET", "/metrics")).body;
  const ledgerWrites = Number(/^flagback_store_write_seconds_count\{write="ledger"\} (\d+)$/m.exec(writes)?.[1]);
  expect(acks.length).toBeLessThanOrEqual(ledgerWrites);
});
