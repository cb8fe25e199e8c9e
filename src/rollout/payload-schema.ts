/**
 * The payload schema of an alias: what each version must meet that is registered for it or gets weight on it, so that old and
 * new code can read whatever a rollout or a rollback serves.
 */
import type { Alias, Json, JsonSchema, PayloadSchema, Refusal, Version } from "@flagback/schemas";
import { canRollBack } from "./under-way.ts";
import type { Circumstances, PayloadChecker, World } from "./world.ts";

/** Why a payload does not meet the alias's schema, if it does not. Without a schema every payload does. */
export function payloadRefusal(
  alias: Pick<Alias, "name" | "payloadSchema"> | undefined,
  version: { readonly id: string; readonly payload: Json },
  checker: PayloadChecker,
): Refusal | undefined {
  const problems = payloadProblems(alias, version, checker);
  const [first, ...others] = problems;
  if (first === undefined) return undefined;
  const more = others.length > 0 ? ` (and ${others.length} more)` : "";
  return {
    code: "payload_invalid",
    message: `The payload of ${version.id} does not meet the payload schema of ${alias?.name}: ${first}${more}.`,
    hint: "Correct the payload and register it under a new id, or change the alias's payloadSchema.",
    problems: problems.map((problem) => `${version.id}: ${problem}`),
  };
}

/** What is wrong with a payload under the alias's schema, each with its path. */
export function payloadProblems(
  alias: Pick<Alias, "payloadSchema"> | undefined,
  { payload }: { readonly payload: Json },
  checker: PayloadChecker,
): readonly string[] {
  return alias?.payloadSchema === undefined ? [] : checker.payloadProblems(jsonSchemaOf(alias.payloadSchema), payload);
}

/** Why an alias can't have a schema: it is none, or what the alias serves or returns to would break it. */
export function schemaRefusal(
  world: World,
  alias: Alias,
  { payloads: checker, now }: Pick<Circumstances, "payloads" | "now">,
): Refusal | undefined {
  if (alias.payloadSchema === undefined) return undefined;
  const problem = checker.schemaProblem(jsonSchemaOf(alias.payloadSchema));
  if (problem !== undefined) {
    return {
      code: "payload_schema_invalid",
      message: `The payload schema of ${alias.name} can't be used: ${problem}.`,
      hint: `Give ${TYPES}, or a JSON Schema of draft 2020-12 or draft 7 without references to other documents.`,
    };
  }
  const problems = versionsInUse(world, alias, now).flatMap((version) =>
    payloadProblems(alias, version, checker).map((each) => `${version.id}: ${each}`),
  );
  if (problems.length === 0) return undefined;
  return {
    code: "payload_invalid",
    message: `Versions that ${alias.name} serves or returns to would break its payload schema. First: ${problems[0]}.`,
    hint: "Roll out a version that meets the new schema first, or let the schema allow both.",
    problems,
  };
}

const TYPES = "boolean, string, number or object";

function jsonSchemaOf(schema: PayloadSchema): JsonSchema {
  return typeof schema === "string" ? OF_TYPE[schema] : schema;
}

/** Made once, so that whoever compiles schemas can know them again. */
const OF_TYPE = {
  boolean: { type: "boolean" },
  string: { type: "string" },
  number: { type: "number" },
  object: { type: "object" },
} as const satisfies Record<Extract<PayloadSchema, string>, JsonSchema>;

/** What is served, what conversations may finish on, and what a rollback returns to. */
function versionsInUse(world: World, alias: Alias, now: string): Version[] {
  const { stable, allocation, finishing = [], rollout } = alias;
  const ids = [
    stable,
    canRollBack(alias, now) ? rollout?.target : undefined,
    ...allocation.filter(({ weight }) => weight > 0).map(({ version }) => version),
    ...finishing.map(({ version }) => version),
  ];
  return [...new Set(ids)].flatMap((id) => world.versions.get(id ?? "") ?? []);
}
