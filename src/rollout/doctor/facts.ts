/**
 * What the doctor looks at beside the documents.
 */
import type { Role } from "@flagback/schemas";
import type { DrillPass } from "../drill-requirement.ts";

export interface DoctorFacts {
  readonly drills: readonly DrillPass[];
  readonly caller: {
    readonly role: Role;
    /** Whether that role may roll back. */
    readonly mayRollBack: boolean;
  };
  /** Runtimes that may see the alias, streaming or polling. */
  readonly runtimes: readonly RuntimeFact[];
  readonly webhooks: readonly WebhookFact[];
  readonly traffic: TrafficFact;
}

export interface RuntimeFact {
  readonly leaseLive: boolean;
  readonly appliedRevision: number | null;
}

export interface WebhookFact {
  readonly id: string;
  /** What became of an alert that has to be tried again, or else of the newest that was tried; null before the first. */
  readonly last: { readonly problem: string | null; readonly at: string | null } | null;
}

/** How the alias's runs are reported. */
export interface TrafficFact {
  /** Outcomes of any of its versions since the server's start, and how long ago that is. */
  readonly reported: number;
  readonly observedMs: number;
  /** Since the last outcome; null where none came since the start. */
  readonly lastOutcomeAgoMs: number | null;
  /** Runs of its current rollout or, without one, since its last. */
  readonly assigned: number;
  readonly settled: number;
  /** Runs without a report within `outcomeTimeout`. */
  readonly missing: number;
}
