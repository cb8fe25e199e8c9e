import type { StartedDrill } from "@flagback/schemas";
import { expect, test } from "vitest";
import type { SwitchReading } from "../../server/src/rehearsal/messages.ts";
import { type Sighting, switchesEngaged, switchesReleased } from "../../server/src/rehearsal/sightings.ts";

const KEY = "drill.support-agent.writes_disabled";
const DRILL = { switches: [KEY], writeSwitch: KEY } as unknown as StartedDrill;
const ROLLBACK = 12;

test("switches are judged as they were read at the rollback, also where the recovery has released them since", () => {
  const readings = [reading(11, false), reading(ROLLBACK, true), reading(15, false)];
  expect(switchesEngaged([seen(readings)], DRILL, ROLLBACK)).toMatchObject({ kind: "pass" });
  expect(switchesReleased([seen(readings)], DRILL)).toMatchObject({ kind: "pass" });
});

test("a runtime that never read a switch as engaged fails, whatever it read before the rollback", () => {
  const readings = [reading(11, true), reading(ROLLBACK, false)];
  expect(switchesEngaged([seen(readings)], DRILL, ROLLBACK)).toEqual({
    kind: "fail",
    why: `runtime-1 reads ${KEY} as released at revision 12`,
  });
});

test("a runtime that would write while a switch is engaged fails, and one that would not when it is released", () => {
  const careless = [{ ...reading(ROLLBACK, true), writesAllowed: true }];
  expect(switchesEngaged([seen(careless)], DRILL, ROLLBACK)).toEqual({
    kind: "fail",
    why: `runtime-1 would write at revision 12 although ${KEY} is engaged`,
  });
  const timid = [reading(ROLLBACK, true), { ...reading(15, false), writesAllowed: false }];
  expect(switchesReleased([seen(timid)], DRILL)).toMatchObject({ kind: "fail" });
});

test("a runtime that read nothing since the rollback fails", () => {
  const why = "runtime-1 did not read the switches";
  expect(switchesEngaged([seen([reading(11, true)])], DRILL, ROLLBACK)).toEqual({ kind: "fail", why });
});

function reading(revision: number, isEngaged: boolean): SwitchReading {
  return { revision, writesAllowed: !isEngaged, switches: { [KEY]: isEngaged } };
}

function seen(readings: readonly SwitchReading[]): Sighting {
  const revision = readings.at(-1)?.revision ?? null;
  return { name: "runtime-1", seen: { revision, resolutions: 0, candidate: 0, payloads: [], readings } };
}
