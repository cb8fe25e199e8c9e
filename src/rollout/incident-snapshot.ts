/**
 * The snapshot that a rollback's own transaction keeps with its incident.
 */
import type { Incident, IncidentSnapshot, Observed, Version } from "@flagback/schemas";
import { payloadDiff } from "./payload-diff.ts";
import type { World } from "./world.ts";

/** `world` is as it was before the rollback. Undefined where it has no such rollout, which a rollback can't be of. */
export function incidentSnapshot(world: World, incident: Incident, observed: Observed): IncidentSnapshot | undefined {
  const rollout = world.aliases.get(incident.alias)?.rollout;
  const candidate = world.versions.get(incident.candidate);
  const target = world.versions.get(incident.target);
  if (!rollout || !candidate || !target) return undefined;
  return {
    candidate: described(candidate),
    target: described(target),
    payloadDiff: payloadDiff(target.payload, candidate.payload),
    rolloutStartedAt: rollout.startedAt,
    stageStartedAt: rollout.stageStartedAt,
    policy: rollout.policy,
    policyHash: rollout.policyHash,
    observed,
  };
}

function described({ id, kind, digest, labels, notes, createdAt, createdBy }: Version): IncidentSnapshot["candidate"] {
  return { id, kind, digest, labels, notes, createdAt, createdBy };
}
