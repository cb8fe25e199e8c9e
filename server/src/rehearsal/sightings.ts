/**
 * What the runtimes' answers to a probe mean for the steps of a drill. Pure.
 */
import type { StartedDrill } from "@flagback/schemas";
import type { Seen } from "./messages.ts";
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

/** Each read every switch as the server has it; with `engaged`, none would write. */
export function switchesRead(sightings: readonly Sighting[], drill: StartedDrill, engaged: boolean): Look {
  const { switches, writeSwitch } = drill;
  if (switches.length === 0) return pass("the policy engages no kill switch");
  for (const { name, seen } of sightings) {
    if (!seen) return fail(`${name} did not answer`);
    const wrong = switches.find((key) => seen.switches[key] !== engaged);
    if (wrong !== undefined) return fail(`${name} reads ${wrong} as ${seen.switches[wrong] ? "engaged" : "released"}`);
    if (switches.includes(writeSwitch) && seen.writesAllowed === engaged) {
      return fail(
        `${name} ${seen.writesAllowed ? "would write" : "would not write"} although ${writeSwitch} is ${word(engaged)}`,
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
