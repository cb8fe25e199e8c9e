/**
 * Checks of who carries a rollback out and who hears of it: runtimes, webhooks, people, and their last rehearsal.
 */
import { drillFinding } from "../drill-requirement.ts";
import { PEOPLES_COMMANDS } from "../machine.ts";
import { type Finding, fail, isExposed, lengthText, ok, type Subject, warn } from "./subject.ts";

/** A drill older than this is an old one, where the policy says nothing; once in a quarter. */
const OLD_DRILL_MS = 92 * 86_400_000;

export function runtimes(subject: Subject): Finding {
  const { alias, facts } = subject;
  const { runtimes: all } = facts;
  if (all.length === 0) {
    const why = `no runtime that may see ${alias.name} is connected, so a rollback reaches nobody and nobody confirms it`;
    const whatToDo = "Start its agents with a FlagbackProvider; flagback runtimes lists who is there.";
    return isExposed(subject) ? fail(why, whatToDo) : warn(why, whatToDo);
  }
  const live = all.filter(({ leaseLive }) => leaseLive);
  const connected = `${live.length} of ${all.length} runtimes that may see ${alias.name} have a live lease`;
  const isApplied = (revision: number | null) => revision !== null && revision >= alias.revision;
  const behind = live.filter(({ appliedRevision }) => !isApplied(appliedRevision)).length;
  if (live.length === 0) {
    return fail(
      connected,
      "They are cut off and serve stable by themselves; check the network between them and the server.",
    );
  }
  if (live.length < all.length || behind > 0) {
    const late = behind > 0 ? `, and ${behind} of these have not confirmed revision ${alias.revision}` : "";
    return warn(
      `${connected}${late}`,
      "flagback runtimes shows which; a rollback waits for no runtime, its proof does.",
    );
  }
  return ok(`${connected} and have confirmed revision ${alias.revision}`);
}

export function webhooks({ facts }: Subject): Finding {
  const { webhooks: all } = facts;
  if (all.length === 0) {
    return warn("nobody is told of a rollback: there is no webhook", "Add one: flagback webhook add URL.");
  }
  const failed = all.flatMap(({ id, last }) => (last?.problem ? [`${id}: ${last.problem}`] : []));
  if (failed.length > 0) {
    return fail(
      `the last alert did not arrive (${failed.join("; ")})`,
      "Check the receiver; alerts are tried again by themselves until they are given up.",
    );
  }
  const untried = all.filter(({ last }) => last === null).map(({ id }) => id);
  if (untried.length === all.length) {
    return warn(
      `no alert to ${untried.join(", ")} is on record, so nobody knows whether one would arrive`,
      "Rehearse it with flagback drill.",
    );
  }
  return ok(`the last alert arrived (${all.flatMap(({ id, last }) => (last ? [id] : [])).join(", ")})`);
}

export function authority({ alias, facts }: Subject): Finding {
  const { role, mayRollBack } = facts.caller;
  const needs = PEOPLES_COMMANDS.rollback.role;
  return mayRollBack
    ? ok(`your token (${role}) may roll ${alias.name} back; ${needs} is enough`)
    : fail(
        `your token (${role}) may not roll ${alias.name} back, which needs ${needs}`,
        `Whoever is on call needs it: flagback token create --role ${needs} --name NAME.`,
      );
}

export function drill({ alias, facts, policy, target, candidate, at }: Subject): Finding {
  const pair = { alias: alias.name, candidateDigest: candidate?.digest ?? "", targetDigest: target?.digest ?? "" };
  const whatToDo = `Rehearse it: flagback drill ${alias.name}.`;
  if (policy?.requireDrill !== undefined) {
    const { isMet, why } = drillFinding(policy.requireDrill, facts.drills, pair, at.now);
    return isMet ? ok(why) : fail(why, whatToDo);
  }
  const passed = facts.drills.filter((pass) => pass.alias === alias.name).map((pass) => Date.parse(pass.at));
  if (passed.length === 0)
    return warn(`no drill has passed on ${alias.name}: its rollback was never rehearsed`, whatToDo);
  const ageMs = Date.parse(at.now) - Math.max(...passed);
  const why = `the last drill passed ${lengthText(ageMs)} ago`;
  return ageMs <= OLD_DRILL_MS ? ok(why) : warn(why, whatToDo);
}
