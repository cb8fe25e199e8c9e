/**
 * The fast track: the short way of a fix, in place of the policy's own stages.
 */
import { DEFAULT_FAST_TRACK, type Policy, type Stage } from "@flagback/schemas";

/** Name of a first stage that a person chose by its percentage. */
const CHOSEN_STAGE = "forward";

/** The policy's fast track, or the default one. */
function fastTrackOf({ fastTrack }: Policy): readonly Stage[] {
  return fastTrack?.stages ?? DEFAULT_FAST_TRACK;
}

/**
 * The policy that a roll-forward freezes: with the fast track's stages, from `percent` on where it is given, and without
 * thresholds of stages that it leaves out.
 */
export function fastTrackPolicy(policy: Policy, percent: number | undefined): Policy {
  const stages = stagesFrom(fastTrackOf(policy), percent);
  const names = new Set(stages.map(({ name }) => name));
  const guardrails = policy.guardrails.map(({ stages: own, ...guardrail }) => {
    const kept = Object.entries(own ?? {}).filter(([name]) => names.has(name));
    return kept.length > 0 ? { ...guardrail, stages: Object.fromEntries(kept) } : guardrail;
  });
  const { fastTrack: _taken, ...rest } = policy;
  return { ...rest, guardrails, stages };
}

/** A stage of this percentage soaks as long as the one that it takes the place of. */
function stagesFrom(track: readonly Stage[], percent: number | undefined): Stage[] {
  if (percent === undefined || track.some((stage) => stage.percent === percent)) {
    return track.filter((stage) => stage.percent >= (percent ?? 0));
  }
  const replaced = track.findLast((stage) => stage.percent < percent) ?? track[0];
  const chosen = { name: CHOSEN_STAGE, percent, soak: replaced?.soak ?? "0s" };
  return [chosen, ...track.filter((stage) => stage.percent > percent)];
}
