/**
 * What a doctor's checks share: the alias, what a rollback of it would return to, and how a finding is said.
 */
import type { Alias, DoctorCheck, Policy, Version } from "@flagback/schemas";
import { canRollBack, isUnderWay } from "../under-way.ts";
import type { Circumstances, World } from "../world.ts";
import type { DoctorFacts } from "./facts.ts";

export interface Subject {
  readonly world: World;
  readonly alias: Alias;
  readonly facts: DoctorFacts;
  readonly at: Pick<Circumstances, "now" | "digestOf" | "payloads">;
  /** Id of the version that a rollback returns to, now or of the next rollout; null where there is none. */
  readonly targetId: string | null;
  readonly target: Version | undefined;
  /** The version that a rollback would be of: under rollout, or promoted and within its window. */
  readonly candidate: Version | undefined;
  /** The frozen one of a rollout that can be rolled back, else the alias's own. */
  readonly policy: Policy | null;
}

/** What a check finds, without its name. */
export type Finding = Omit<DoctorCheck, "check">;

export function subjectOf(world: World, alias: Alias, facts: DoctorFacts, at: Subject["at"]): Subject {
  const { rollout } = alias;
  const live = rollout !== null && canRollBack(alias, at.now) ? rollout : undefined;
  const targetId = live?.target ?? alias.stable;
  return {
    world,
    alias,
    facts,
    at,
    targetId,
    target: world.versions.get(targetId ?? ""),
    candidate: live && world.versions.get(live.candidate),
    policy: live?.policy ?? alias.policy,
  };
}

export function isExposed({ alias }: Subject): boolean {
  return isUnderWay(alias);
}

export const ok = (why: string): Finding => ({ status: "ok", why });
export const warn = (why: string, whatToDo: string): Finding => ({ status: "warn", why, whatToDo });
export const fail = (why: string, whatToDo: string): Finding => ({ status: "fail", why, whatToDo });

/** A length of time as people say it: `40 s`, `12 min`, `3.5 h`, `2 d`. */
export function lengthText(ms: number): string {
  const [unit, name] = (
    [
      [86_400_000, "d"],
      [3_600_000, "h"],
      [60_000, "min"],
    ] as const
  ).find(([each]) => ms >= each) ?? [1_000, "s"];
  const value = ms / unit;
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} ${name}`;
}
