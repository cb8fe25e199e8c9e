/**
 * The end of a decision that people are asked for, whatever ends it.
 */
import { type AskedDecision, type Rollout, SHORT_ID_LENGTH } from "@flagback/schemas";
import type { Circumstances, World } from "./world.ts";

export interface Ending {
  readonly state: Exclude<AskedDecision["state"], "open">;
  readonly because: string;
  /** Of the rollback that ended it. */
  readonly incident?: string;
}

/** The rollout's open decision, closed; none where none is open. What it was judged on lives on with a rollback only. */
export function closeAsked(world: World, rollout: Rollout, ending: Ending, at: Circumstances): AskedDecision[] {
  const asked = rollout.openDecision === undefined ? undefined : world.asked.get(rollout.openDecision);
  if (!asked) return [];
  const { state, because, incident } = ending;
  const { input: _judgedOn, ...kept } = asked;
  const closed = { at: at.now, by: at.actor.name, because };
  return [{ ...kept, state, closed, ...(incident === undefined ? {} : { incident }) }];
}

/** Id of the entry by which a decision keeps a kill switch engaged while it waits. */
export function askedEntryId(decision: string): string {
  return `decision_${decision.slice(0, SHORT_ID_LENGTH)}`;
}
