/** Heartbeats of many, spread over the interval. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Rounds } from "../../server/src/stream/rounds.ts";

test("those who come together are due one after the other, each once in an interval", () => {
  const rounds = new Rounds<number>(5_000, 0);
  for (let member = 0; member < 10_000; member++) rounds.add(member);
  // By hand: 50 steps of 100 ms for 10 000 members are 200 at a time.
  const turns = Array.from({ length: 50 }, (_, step) => [...rounds.due((step + 1) * 100)]);
  expect(turns.map((turn) => turn.length)).toEqual(Array(50).fill(200));
  expect(new Set(turns.flat()).size).toBe(10_000);
});

test("nobody is due before the next step, nor after leaving", () => {
  const rounds = new Rounds<string>(5_000, 0);
  rounds.add("stays");
  rounds.add("leaves");
  rounds.delete("leaves");
  expect([...rounds.due(99)]).toEqual([]);
  expect([...rounds.due(5_000)]).toEqual(["stays"]);
  expect([...rounds]).toEqual(["stays"]);
});

test("however late the steps come, nobody is due twice for one interval, and after an interval everybody was", () => {
  const steps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 100 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 130 }), (pausesMs, members) => {
      const rounds = new Rounds<number>(500, 0);
      for (let member = 0; member < members; member++) rounds.add(member);
      const lastMs = new Map<number, number>();
      let nowMs = 0;
      for (const pauseMs of [...pausesMs, 0, 500, 0]) {
        nowMs += pauseMs;
        const due = [...rounds.due(nowMs)];
        expect(new Set(due).size).toBe(due.length);
        for (const member of due) lastMs.set(member, nowMs);
        if (nowMs >= 500 + 400)
          for (let m = 0; m < members; m++) expect(nowMs - (lastMs.get(m) ?? 0)).toBeLessThanOrEqual(500 + 400);
      }
      expect(lastMs.size).toBe(members);
    }),
  );
});

test("after a long pause everybody is due once and not once for each interval missed", () => {
  const rounds = new Rounds<number>(500, 0);
  for (let member = 0; member < 60; member++) rounds.add(member);
  expect([...rounds.due(60_000)]).toHaveLength(60);
  expect([...rounds.due(60_009)]).toEqual([]);
});
