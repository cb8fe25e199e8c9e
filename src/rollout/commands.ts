/**
 * Everything that people, configuration files and the brain can command. Each way in ends here.
 */
import type {
  DesiredState,
  DrillFault,
  DrillState,
  FailSafe,
  FlagDefinition,
  GuardrailEvidence,
  HoldCause,
  Json,
  PayloadSchema,
  Policy,
  Recovery,
  Slot,
  StopReason,
  TriggerDefinition,
  VersionKind,
} from "@flagback/schemas";
import type { DrillPass } from "./drill-requirement.ts";
import type { Ownership } from "./ownership.ts";
import type { StopFinding } from "./world.ts";

export interface VersionDraft {
  readonly id: string;
  readonly alias: string;
  readonly kind: VersionKind;
  readonly payload: Json;
  readonly labels: Readonly<Record<string, string>>;
  readonly notes: string;
}

export type Command =
  | { readonly kind: "registerVersion"; readonly version: VersionDraft }
  | { readonly kind: "retireVersion"; readonly id: string; readonly reason: string }
  | {
      readonly kind: "putAlias";
      readonly name: string;
      readonly salt?: string;
      readonly policy?: Policy | null;
      readonly payloadSchema?: PayloadSchema | null;
      readonly allocation?: readonly Slot[];
    }
  /** Notes versions as candidates of an alias, without weight. */
  | { readonly kind: "addCandidates"; readonly alias: string; readonly versions: readonly string[] }
  | { readonly kind: "declareStable"; readonly alias: string; readonly version: string; readonly reason: string }
  | {
      readonly kind: "startRollout";
      readonly alias: string;
      readonly candidate?: string;
      readonly stage?: string;
      readonly reason: string;
      /** Drills that passed; none where they are left out. */
      readonly drills?: readonly DrillPass[];
      /** Start although the drill is missing that the policy demands; recorded. */
      readonly bypassGate?: boolean;
    }
  /** Starts a rollout of a fix on the fast track, past an open incident and the ordinary stages. */
  | {
      readonly kind: "rollForward";
      readonly alias: string;
      readonly version: string;
      /** Begin with this percentage of the traffic in place of the fast track's first. */
      readonly percent?: number;
      readonly reason: string;
      readonly drills?: readonly DrillPass[];
    }
  /** Moves to the next stage. */
  | {
      readonly kind: "advanceRollout";
      readonly alias: string;
      readonly reason: string;
      /** Whether the ledger proves every guardrail healthy; the caller asks core's `isHealthy`. */
      readonly isHealthy: boolean;
      /** Each guardrail that is not, in a clause. */
      readonly unproven?: readonly string[];
      /** Drills that passed; none where they are left out. */
      readonly drills?: readonly DrillPass[];
      /** Advance although the gate is closed; recorded with what it said. */
      readonly bypassGate: boolean;
      /** The rollout and the stage that are meant; gone on from there by now, the command changes nothing. */
      readonly rolloutNumber?: number;
      readonly fromStage?: string;
    }
  | { readonly kind: "pauseRollout"; readonly alias: string; readonly reason: string }
  /** Ends a pause or a hold. */
  | { readonly kind: "resumeRollout"; readonly alias: string; readonly reason: string }
  /** Ends a hold for this cause, because it is over; a pause stays. */
  | { readonly kind: "endHold"; readonly alias: string; readonly cause: HoldCause; readonly reason: string }
  | {
      readonly kind: "promote";
      readonly alias: string;
      readonly reason: string;
      /** The rollout that is meant; in another one by now, the command changes nothing. */
      readonly rolloutNumber?: number;
    }
  | {
      readonly kind: "holdRollout";
      readonly alias: string;
      readonly cause: HoldCause;
      /** One sentence for people. */
      readonly summary: string;
      readonly evidence: readonly GuardrailEvidence[];
      /** Engage the policy's kill switches until the hold ends. */
      readonly engage: boolean;
    }
  /** The brain asks people whether to roll back. Asked already, it asks again only where the evidence has doubled. */
  | {
      readonly kind: "ask";
      readonly alias: string;
      /** The rollout that is meant; in another one by now, the command changes nothing. */
      readonly rolloutNumber?: number;
      readonly finding: StopFinding;
      /** The guardrail that asks. */
      readonly leading: string;
      /** What happened, in sentences for people. */
      readonly summary: string;
      /** Engage the policy's kill switches while it waits, also where the policy's `approval` does not. */
      readonly engage: boolean;
    }
  | AnswerCommand<"approve">
  | AnswerCommand<"reject">
  | {
      readonly kind: "rollback";
      readonly alias: string;
      readonly reason: string;
      readonly finding?: StopFinding;
      /** Where neither the brain nor a person rolls back: what a signal from outside stands for. */
      readonly signalled?: Exclude<StopReason, "manual">;
      /** The rollout that is meant; without it, whichever there is. In another one by now, the command changes nothing. */
      readonly rolloutNumber?: number;
    }
  /** Several rollbacks in one change, all or none: of these aliases, or of the rollouts of a release's versions. */
  | {
      readonly kind: "rollbackTogether";
      readonly aliases?: readonly string[];
      readonly release?: string;
      readonly reason: string;
    }
  /** Keeps a payload from having weight on the alias, without a rollback. */
  | {
      readonly kind: "lock";
      readonly alias: string;
      readonly version: string;
      readonly reason: string;
    }
  | {
      readonly kind: "unlock";
      readonly alias: string;
      readonly version?: string;
      readonly digest?: string;
      readonly reason: string;
      /** Noted on the incident where it has none yet. */
      readonly rootCause?: string;
    }
  /** Every runtime has acknowledged the rollback, or its lease is over. */
  | { readonly kind: "convergeIncident"; readonly incident: string; readonly convergeMs: number }
  | {
      readonly kind: "settleIncident";
      readonly incident: string;
      readonly as: "recovered" | "unverified" | "not_recovered";
      /** In a clause for people. */
      readonly because: string;
      readonly recovery: Recovery;
    }
  /** A person releases what the incident engaged, without a proof. */
  | { readonly kind: "releaseIncident"; readonly incident: string; readonly reason: string }
  | {
      readonly kind: "noteIncident";
      readonly incident: string;
      readonly text: string;
      readonly isRootCause: boolean;
    }
  | {
      readonly kind: "engage";
      readonly key: string;
      readonly scope: string;
      readonly reason: string;
      readonly until?: string;
      /** A fresh id for the entry. */
      readonly entryId: string;
    }
  | { readonly kind: "release"; readonly key: string; readonly scope: string; readonly reason: string }
  | { readonly kind: "expireEntries" }
  | { readonly kind: "expireFinishing" }
  | { readonly kind: "stopEverything"; readonly reason: string; readonly entryId: string }
  | { readonly kind: "putKillSwitch"; readonly key: string; readonly failSafe: FailSafe }
  | { readonly kind: "putFlag"; readonly key: string; readonly definition: FlagDefinition }
  | { readonly kind: "deleteFlag"; readonly key: string }
  /** Fills the alias's shadow for a drill. */
  | {
      readonly kind: "openDrill";
      readonly alias: string;
      readonly candidate?: string;
      readonly faults: readonly DrillFault[];
    }
  /** Empties it. */
  | {
      readonly kind: "closeDrill";
      readonly alias: string;
      readonly state: Exclude<DrillState, "running">;
      /** One sentence for people. */
      readonly summary: string;
    }
  | {
      readonly kind: "putRelease";
      readonly name: string;
      readonly versions: Readonly<Record<string, string>>;
      readonly notes: string;
    }
  | { readonly kind: "putTrigger"; readonly id: string; readonly definition: TriggerDefinition }
  | { readonly kind: "deleteTrigger"; readonly id: string }
  | { readonly kind: "deleteAlias"; readonly name: string }
  | { readonly kind: "deleteKillSwitch"; readonly key: string }
  | {
      readonly kind: "apply";
      readonly desired: DesiredState;
      /** Removes what the configuration answers for and does not name. */
      readonly prune?: Ownership;
      /** Whether who commands may say what can be done from outside; else a file that changes triggers is refused. */
      readonly mayChangeTriggers?: boolean;
    };

/** Narrows the union to one kind. */
export type CommandOf<Kind extends Command["kind"]> = Extract<Command, { kind: Kind }>;

/** What is said to an open decision. */
interface AnswerCommand<Kind extends "approve" | "reject"> {
  readonly kind: Kind;
  readonly alias: string;
  /** Id of the decision that is meant. */
  readonly decision: string;
  /** Which time of asking is meant; without it, the last. */
  readonly round?: number;
  readonly reason: string;
  /** Nobody answered in time, so the brain says what the policy does. */
  readonly isDeadline?: true;
}
