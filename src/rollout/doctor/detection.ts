/**
 * Checks of what makes a rollback happen by itself: a policy that can fire, and outcomes to judge.
 */
import { durationMs, type Policy, type VersionKind } from "@flagback/schemas";
import { type CompiledGuardrail, compileGuardrails, runsToStop } from "../../brain/index.ts";
import { VERSION_KINDS } from "../version-kinds.ts";
import { type Finding, fail, isExposed, lengthText, ok, type Subject, warn } from "./subject.ts";

/** Where a kind has no target time of its own. */
const DEFAULT_TARGET_MS = 10 * 60_000;
/** So many times what a guardrail allows is a defect worth naming. */
const DEFECT_FACTOR = 3;
/** More runs without a report than with one means that nobody reports. */
const MAX_MISSING_SHARE = 0.5;

export function guardrails(subject: Subject): Finding {
  const { alias, policy } = subject;
  if (policy === null) {
    return fail(
      `${alias.name} has no policy, so only people roll back`,
      "Give it a policy with at least one guardrail.",
    );
  }
  const compiled = compiledOf(subject, policy);
  if (!compiled)
    return fail("the policy can't be judged", "Correct its guardrails; flagback apply names what is wrong.");
  const automatic = automaticOf(compiled);
  if (automatic.length === 0) {
    return fail(
      "no guardrail rolls back by itself: each observes, asks for approval, or does less than a rollback",
      "Give at least one guardrail mode: automatic and action: rollback.",
    );
  }
  const statistical = automatic.filter((each) => each.kind !== "budget" && each.relative === undefined);
  const blunt = statistical.filter((each) => runsToStop(each, 1, policy) === null).map(({ name }) => name);
  if (blunt.length > 0 && blunt.length === statistical.length) {
    return fail(
      `no run of failures would ever be enough for ${blunt.join(", ")}`,
      "Set thresholds that a failing version breaks.",
    );
  }
  return ok(
    `${automatic.map(({ name }) => name).join(", ")} ${automatic.length === 1 ? "rolls" : "roll"} back automatically`,
  );
}

export function traffic(subject: Subject): Finding {
  const { alias, policy, facts, target, candidate } = subject;
  const stage = policy && stageOf(subject, policy);
  const compiled = policy && compiledOf(subject, policy);
  if (!policy || !stage || !compiled) return warn("without a policy no traffic is enough", "See guardrails.");
  const { reported, observedMs } = facts.traffic;
  if (reported === 0) {
    return warn(
      `no outcome of ${alias.name} was reported in the ${lengthText(observedMs)} since the server's start, so nobody can say how soon a defect is found`,
      "Let traffic run, and run the doctor again.",
    );
  }
  const msPerRun = observedMs / reported / (stage.percent / 100);
  const needs = automaticOf(compiled).flatMap((each) => {
    const whole = runsToStop(each, 1, policy);
    const part = runsToStop(each, Math.min(1, DEFECT_FACTOR * each.p0), policy);
    return whole === null ? [] : [{ name: each.name, whole, part }];
  });
  const [first] = needs.sort((a, b) => a.whole - b.whole);
  if (!first)
    return warn("how many runs its guardrails need can't be said in advance", "Rehearse it with flagback drill.");
  const wholeMs = first.whole * msPerRun;
  const found = `at ${stage.percent} % (stage ${stage.name}), a complete failure takes ${first.whole} runs, about ${lengthText(wholeMs)}`;
  const slower =
    first.part === null
      ? ""
      : `; ${DEFECT_FACTOR} times the allowed ${first.name} about ${first.part} runs, ${lengthText(first.part * msPerRun)}`;
  const why = `${found}${slower}`;
  const limitMs = targetMs(candidate?.kind ?? target?.kind);
  return wholeMs <= limitMs
    ? ok(why)
    : warn(
        `${why}; the target is ${lengthText(limitMs)}`,
        `Begin at a larger stage, or send synthetic checks through ${alias.name} as well.`,
      );
}

export function outcomes(subject: Subject): Finding {
  const { alias, facts, policy } = subject;
  const { assigned, settled, missing, lastOutcomeAgoMs } = facts.traffic;
  if (assigned === 0 && lastOutcomeAgoMs === null) {
    const why = `no run of ${alias.name} was reported since the server's start`;
    const whatToDo = "Check that its agents use withRun and run.report, or client.track.";
    return isExposed(subject) && facts.traffic.observedMs > durationMs(policy?.onNoData.after ?? "5m")
      ? fail(why, whatToDo)
      : warn(why, whatToDo);
  }
  if (missing > MAX_MISSING_SHARE * (settled + missing)) {
    return fail(
      `${missing} of ${settled + missing} runs were never reported within the policy's outcomeTimeout`,
      "Check that each run ends with run.report, and that the network lets reports through.",
    );
  }
  const ago = lastOutcomeAgoMs === null ? "" : `, the last one ${lengthText(lastOutcomeAgoMs)} ago`;
  return ok(`${settled} of ${assigned} runs were reported${ago}`);
}

function compiledOf({ alias }: Subject, policy: Policy): readonly CompiledGuardrail[] | undefined {
  const compiled = compileGuardrails(policy, alias.rollout?.policy === policy ? alias.rollout.stage : undefined);
  return compiled.ok ? compiled.guardrails : undefined;
}

function automaticOf(compiled: readonly CompiledGuardrail[]): readonly CompiledGuardrail[] {
  return compiled.filter(({ mode, action }) => mode === "automatic" && action === "rollback");
}

/** The stage that a rollout is at, or that the next one begins at. */
function stageOf(subject: Subject, { stages }: Policy): Policy["stages"][number] | undefined {
  const current = isExposed(subject) ? stages.find(({ name }) => name === subject.alias.rollout?.stage) : undefined;
  return current ?? stages[0];
}

function targetMs(kind: VersionKind | undefined): number {
  return (kind && VERSION_KINDS[kind].targetMs) ?? DEFAULT_TARGET_MS;
}
