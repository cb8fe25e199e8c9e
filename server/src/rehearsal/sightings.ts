/**
 * What the runtimes' answers to a probe mean for the steps of a drill. Pure.
 */
import type { StartedDrill } from "@flagback/schemas";
import type { Seen, SwitchReading } from "./messages.ts";
import { fail, type Look, pass } from "./steps.ts";

/** One runtime's answer; undefined where it has not answered. */
export interface Sighting {
  readonly name: string;
  readonly seen: Seen | undefined;
}

/** Nobody serves the candidate any more, although all of them acknowledged the rollback. */
export function withdrawn(sightings: readonly Sighting[], revision: number): Look {
  const bad = sightings.find(({ seen }) => seen !== undefined && seen.candidate > 0);
  if (bad?.seen) {
    const { candidate, resolutions, revision: applied } = bad.seen;
    return fail(
      `${bad.name} acknowledged revision ${revision}, says it is at ${applied}, and served the candidate in ${candidate} of ${resolutions} resolutions`,
    );
  }
  const behind = sightings.find(({ seen }) => (seen?.revision ?? -1) < revision);
  if (behind) return fail(`${behind.name} is at revision ${behind.seen?.revision ?? "none"}, before ${revision}`);
  const all = sightings.reduce((sum, { seen }) => sum + (seen?.resolutions ?? 0), 0);
  return pass(`no candidate in ${all} resolutions of ${sightings.length} runtimes after their acknowledgement`);
}

/** Each got stable's payload, as it was registered. */
export function stableLoads(sightings: readonly Sighting[], { target }: Pick<StartedDrill, "target">): Look {
  for (const { name, seen } of sightings) {
    const loaded = seen?.payloads.find(({ version }) => version === target.id);
    if (!loaded) return fail(`${name} was not served ${target.id}`);
    if (loaded.digest !== target.digest) {
      return fail(
        `${name} loaded a payload of ${target.id} with digest ${loaded.digest.slice(0, 12)}, not the registered ${target.digest.slice(0, 12)}`,
      );
    }
  }
  return pass(
    `${sightings.length} runtimes loaded ${target.id} with the registered digest ${target.digest.slice(0, 12)}`,
  );
}

/**
 * Each read every switch as engaged, and would not write, as soon as it had the rollback. Not what it reads by now: where the
 * recovery was proven in the meantime, they are released again.
 */
export function switchesEngaged(sightings: readonly Sighting[], drill: StartedDrill, revision: number): Look {
  return switchesRead(sightings, drill, true, ({ readings }) =>
    readings.find((reading) => (reading.revision ?? -1) >= revision),
  );
}

/** Each reads every switch as released by now, and would write. */
export function switchesReleased(sightings: readonly Sighting[], drill: StartedDrill): Look {
  return switchesRead(sightings, drill, false, ({ readings }) => readings.at(-1));
}

function switchesRead(
  sightings: readonly Sighting[],
  { switches, writeSwitch }: StartedDrill,
  engaged: boolean,
  readingOf: (seen: Seen) => SwitchReading | undefined,
): Look {
  if (switches.length === 0) return pass("the policy engages no kill switch");
  for (const { name, seen } of sightings) {
    const reading = seen && readingOf(seen);
    if (!reading) return fail(`${name} did not read the switches`);
    const at = `at revision ${reading.revision ?? "none"}`;
    const wrong = switches.find((key) => reading.switches[key] !== engaged);
    if (wrong !== undefined) return fail(`${name} reads ${wrong} as ${word(reading.switches[wrong] === true)} ${at}`);
    if (switches.includes(writeSwitch) && reading.writesAllowed === engaged) {
      return fail(
        `${name} ${reading.writesAllowed ? "would write" : "would not write"} ${at} although ${writeSwitch} is ${word(engaged)}`,
      );
    }
  }
  return pass(
    `${sightings.length} runtimes read ${switches.join(", ")} as ${word(engaged)} and ${engaged ? "would not" : "would"} write`,
  );
}

function word(engaged: boolean): string {
  return engaged ? "engaged" : "released";
}
