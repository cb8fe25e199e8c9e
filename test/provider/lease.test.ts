import fc from "fast-check";
import { expect, test } from "vitest";
import { isLeaseLive, type Lease, LeaseEnd } from "../../provider/src/connection/lease.ts";

test("the end of a lease says what the lease's rule says, by either clock and with any grace, and nothing once it is gone", () => {
  const ms = fc.integer({ min: -60_000, max: 60_000 });
  fc.assert(
    fc.property(fc.nat(60_000), fc.nat(60_000), ms, ms, (leaseMs, graceMs, monotonicPassedMs, wallPassedMs) => {
      const asked = { monotonicMs: 500_000, wallMs: 1_700_000_000_000 };
      const lease: Lease = { asked, leaseMs };
      const monotonicMs = asked.monotonicMs + monotonicPassedMs;
      const wallMs = asked.wallMs + wallPassedMs;
      const clock = { monotonicMs: () => monotonicMs, wallMs: () => wallMs };
      const end = new LeaseEnd();
      expect(end.isAhead(clock, graceMs)).toBe(false);
      end.set(lease);
      expect(end.isAhead(clock, graceMs)).toBe(isLeaseLive(lease, monotonicMs, wallMs, graceMs));
      end.set(null);
      expect(end.isAhead(clock, graceMs)).toBe(false);
    }),
  );
});

test("a lease ends with its last millisecond, and its grace begins there", () => {
  const end = new LeaseEnd();
  end.set({ asked: { monotonicMs: 0, wallMs: 0 }, leaseMs: 10 });
  const at = (ms: number) => ({ monotonicMs: () => ms, wallMs: () => 0 });
  expect([9, 10].map((ms) => end.isAhead(at(ms), 0))).toEqual([true, false]);
  expect([14, 15].map((ms) => end.isAhead(at(ms), 5))).toEqual([true, false]);
});
