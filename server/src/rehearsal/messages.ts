/**
 * What a drill and its runtime processes say to each other over their IPC channel: what to play, and what was seen. Versions,
 * switches, outcomes and acknowledgements go through the server, as everywhere.
 */
import type { DrillFault, Policy } from "@flagback/schemas";
import type { OfItself } from "../processes/runtime-standing.ts";

/** What a runtime plays. */
export interface Part {
  readonly url: string;
  readonly token: string;
  readonly shadow: string;
  readonly candidate: string;
  readonly target: string;
  readonly policy: Policy;
  readonly writeSwitch: string;
  readonly switches: readonly string[];
  readonly runsPerSecond: number;
}

/** Drill to runtime. */
export type ToRuntime =
  | { readonly type: "begin"; readonly part: Part }
  /** From now on the candidate's runs go wrong in this way; null mends it. */
  | { readonly type: "inject"; readonly fault: DrillFault | null }
  | { readonly type: "probe"; readonly number: number }
  | { readonly type: "end" };

/** Runtime to drill. */
export type FromRuntime = OfItself | Sighting;
export type Sighting =
  | { readonly type: "progress"; readonly runs: number; readonly candidateRuns: number }
  | { readonly type: "probed"; readonly number: number; readonly seen: Seen };

/** What one runtime sees when it is asked, through the provider as an agent would. */
export interface Seen {
  /** The revision that it has applied. */
  readonly revision: number | null;
  readonly resolutions: number;
  /** How many of them were served the candidate. */
  readonly candidate: number;
  /** Each payload that was served, by its version and its digest. */
  readonly payloads: readonly { readonly version: string; readonly digest: string }[];
  /** What its switches read at each of the last revisions that it applied, oldest first; the last is of this probe. */
  readonly readings: readonly SwitchReading[];
}

export interface SwitchReading {
  readonly revision: number | null;
  readonly writesAllowed: boolean;
  /** Whether each of the drill's kill switches is engaged, by its key. */
  readonly switches: Readonly<Record<string, boolean>>;
}
