/**
 * The doctor: whether a rollback of an alias would work, asked of each thing that it needs, without rolling anything back.
 */
import type { Alias, DoctorAnswer, DoctorCheck } from "@flagback/schemas";
import type { World } from "../world.ts";
import { guardrails, outcomes, traffic } from "./detection.ts";
import type { DoctorFacts } from "./facts.ts";
import { authority, drill, runtimes, webhooks } from "./people.ts";
import { type Finding, type Subject, subjectOf } from "./subject.ts";
import { killSwitches, locks, mechanism, retention, rollbackTarget, targetPayload } from "./way-back.ts";

/** In the order of a rollback: to what, by what, how it spreads, and who is told. */
const CHECKS: Readonly<Record<DoctorCheck["check"], (subject: Subject) => Finding>> = {
  rollback_target: rollbackTarget,
  target_payload: targetPayload,
  retention,
  locks,
  mechanism,
  guardrails,
  traffic,
  outcomes,
  kill_switches: killSwitches,
  runtimes,
  webhooks,
  authority,
  drill,
};

export function doctor(world: World, alias: Alias, facts: DoctorFacts, at: Subject["at"]): DoctorAnswer {
  const subject = subjectOf(world, alias, facts, at);
  const checks = (Object.keys(CHECKS) as DoctorCheck["check"][]).map((check) => ({ check, ...CHECKS[check](subject) }));
  const worst = (["fail", "warn"] as const).find((status) => checks.some((each) => each.status === status)) ?? "ok";
  return {
    alias: alias.name,
    target: subject.targetId,
    candidate: subject.candidate?.id ?? null,
    status: worst,
    checks,
  };
}
