/**
 * Checks of what a rollback returns to: that it is there, whole, and all that is needed.
 */
import type { Version } from "@flagback/schemas";
import { payloadProblems } from "../payload-schema.ts";
import { MECHANISMS, VERSION_KINDS } from "../version-kinds.ts";
import { versionDigest } from "../versions.ts";
import { type Finding, fail, isExposed, ok, type Subject, warn } from "./subject.ts";

const NO_TARGET = "there is nothing to return to";

export function rollbackTarget({ alias, targetId, target }: Subject): Finding {
  if (targetId === null) {
    return fail(
      `${alias.name} has no stable version, so nothing to return to`,
      `Declare one: POST /v1/aliases/${alias.name}/declare-stable, or stable: VERSION in a file for flagback apply.`,
    );
  }
  if (!target) {
    return fail(
      `${targetId} is not registered`,
      `Register it with its payload: flagback register ${targetId} --payload FILE.`,
    );
  }
  if (target.retiredAt !== undefined) {
    return fail(
      `${targetId} was retired at ${target.retiredAt}`,
      "Register its payload under a new id, and roll that out.",
    );
  }
  return ok(`a rollback returns to ${targetId}, which is registered and not retired`);
}

/** Also of the stable version, where that is another: after a promotion it serves. */
export function targetPayload({ world, alias, target, at }: Subject): Finding {
  if (!target) return warn(NO_TARGET, "See rollback target.");
  const stable = world.versions.get(alias.stable ?? "");
  const versions = [target, ...(stable && stable.id !== target.id ? [stable] : [])];
  const isWhole = (version: Version) => versionDigest(version, at.digestOf) === version.digest;
  const broken = versions.filter((version) => !isWhole(version)).map(({ id }) => id);
  if (broken.length > 0) {
    return fail(
      `the payload of ${broken.join(" and ")} is not the one that was registered: its digest differs`,
      "The database was changed by something else: restore a backup, or register the right payload under a new id.",
    );
  }
  const problems = versions.flatMap((version) =>
    payloadProblems(alias, version, at.payloads).map((problem) => `${version.id}: ${problem}`),
  );
  if (problems.length > 0) {
    return fail(
      `a payload breaks the alias's payload schema (${problems.join("; ")})`,
      "Let the payloadSchema allow it, or roll out a version that meets it.",
    );
  }
  const meets =
    alias.payloadSchema === undefined ? "the alias has no payload schema" : "it meets the alias's payload schema";
  return ok(
    `the payload of ${versions.map(({ id }) => id).join(" and ")} is the one that was registered, and ${meets}`,
  );
}

export function retention({ world, alias, at }: Subject): Finding {
  const previous = alias.previousStable;
  if (!previous) return ok("nothing was promoted that a rollback window would be open for");
  const { version: id, until } = previous;
  if (Date.parse(at.now) >= Date.parse(until)) {
    return ok(
      `the rollback window of the last promotion ended at ${until}; ${alias.stable} is what the next rollout returns to`,
    );
  }
  const version = world.versions.get(id);
  return version && version.retiredAt === undefined
    ? ok(`${id}, stable before the last promotion, is kept until ${until} and longer`)
    : fail(
        `${id} is ${version ? "retired" : "gone"}, and the promotion should be reversible until ${until}`,
        "Register its payload under a new id; until it is rolled out there is no way back behind the promotion.",
      );
}

export function locks({ alias, target, policy }: Subject): Finding {
  const lock = alias.locks.find(({ digest }) => digest === target?.digest);
  if (lock) {
    return fail(
      `the rollback target has a locked payload: ${lock.reason}`,
      `Find out which is wrong; flagback unlock ${alias.name} ${lock.version} --reason "..." --root-cause "..." frees it.`,
    );
  }
  if (policy?.lockCandidate === false) {
    return warn(
      "the policy locks nothing after a rollback, so the same candidate may be started again",
      "Leave lockCandidate at its default, true.",
    );
  }
  const locked = alias.locks.map(({ version }) => version);
  return ok(
    locked.length === 0
      ? "nothing is locked, and a rollback locks its candidate"
      : `locked, as they should be until somebody knows why: ${locked.join(", ")}`,
  );
}

export function killSwitches({ world, alias, policy }: Subject): Finding {
  if (policy === null) return warn("without a policy a rollback engages nothing", "Give the alias a policy.");
  const { engage, scope } = policy.onBreach;
  const missing = engage.filter((key) => !world.killSwitches.has(key));
  if (missing.length > 0) {
    return fail(
      `a rollback engages ${missing.join(", ")}, and there is no such kill switch`,
      `Create it: PUT /v1/kill-switches/${missing[0]}.`,
    );
  }
  if (engage.length === 0) {
    return warn(
      "a rollback engages no kill switch, so runs in flight go on writing",
      "Name one in onBreach.engage, such as writes_disabled.",
    );
  }
  return ok(`a rollback engages ${engage.join(", ")} at ${scope === "*" ? "*" : `agent=${alias.name}`}`);
}

/** So that a change of data is not promised a rollback in a second. */
export function mechanism(subject: Subject): Finding {
  const { target, candidate } = subject;
  if (!target) return warn(NO_TARGET, "See rollback target.");
  const kinds = [...new Set([target.kind, ...(candidate ? [candidate.kind] : [])])];
  const beyond = kinds.flatMap((kind) => VERSION_KINDS[kind].beyondTheFlip ?? []);
  const sentences = kinds.map((kind) => {
    const { mechanism: name, target: time } = VERSION_KINDS[kind];
    return `${kind}: ${MECHANISMS[name]}; the target is ${time}`;
  });
  const why = sentences.join(". ");
  if (beyond.length === 0) return ok(why);
  const when = isExposed(subject) ? "now" : "before the next rollout";
  return warn(why, `${beyond.join(" ")} Make sure of it ${when}.`);
}
