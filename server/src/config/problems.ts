/**
 * What a schema found wrong, as sentences for people; an unknown key comes with the nearest known one.
 */
import { type ErrorCode, MAX_VERSION_ID_LENGTH } from "@flagback/schemas";
import { closest, distance } from "fastest-levenshtein";
import type * as z from "zod";

/** Farther away than this a known key is no suggestion. */
const MAX_SUGGESTION_DISTANCE = 4;
/** Problems that are told one by one: a request of 1 MiB has room for a hundred thousand. */
const MAX_TOLD_PROBLEMS = 100;
/** Characters of a name that are repeated, as many as the longest that there can be. */
const MAX_TOLD_NAME = MAX_VERSION_ID_LENGTH;

type Issue = z.core.$ZodIssue;

/** The error's code: what an issue names in its `params`, `unknown_key` where nothing else is wrong, else `bad_request`. */
export function problemsCode(issues: readonly Issue[]): ErrorCode {
  if (issues.some((issue) => issue.code === "custom" && issue.params?.code === "payload_too_large")) {
    return "payload_too_large";
  }
  return issues.every((issue) => issue.code === "unrecognized_keys") ? "unknown_key" : "bad_request";
}

/** One sentence for each problem up to a hundred, after its place in a file where `placeOf` knows one. */
export function describeProblems(
  issues: readonly Issue[],
  schema: z.ZodType,
  placeOf: (path: readonly PropertyKey[]) => string = () => "",
): string[] {
  const placed = (path: readonly PropertyKey[], text: string) => {
    const place = placeOf(path);
    return place === "" ? text : `${place}: ${text}`;
  };
  const all = issues.flatMap((issue): { readonly issue: Issue; readonly key?: string }[] =>
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => ({ issue, key })) : [{ issue }],
  );
  const told = all.slice(0, MAX_TOLD_PROBLEMS).map(({ issue, key }) => {
    const where = pathText(issue.path);
    if (key === undefined) return placed(issue.path, `${where || "the file"}: ${issue.message}`);
    const known = knownKeys(schemaAt(schema, issue.path));
    const name = shortened(key);
    const nearest = known.length > 0 ? closest(name, known) : undefined;
    const isNear = nearest !== undefined && distance(name, nearest) <= MAX_SUGGESTION_DISTANCE;
    const text = `unknown key${isNear ? `; did you mean ${nearest}?` : `; known are ${known.join(", ")}`}`;
    return placed([...issue.path, key], `${where ? `${where}.` : ""}${name}: ${text}`);
  });
  return all.length > told.length ? [...told, `and ${all.length - told.length} more`] : told;
}

export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : `${text}${text ? "." : ""}${shortened(String(part))}`,
    "",
  );
}

/** The name, or as much of it as any name may have. */
export function shortened(name: string): string {
  return name.length <= MAX_TOLD_NAME ? name : `${name.slice(0, MAX_TOLD_NAME)}…`;
}

function schemaAt(schema: z.core.$ZodType | undefined, path: readonly PropertyKey[]): z.core.$ZodType | undefined {
  return path.reduce<z.core.$ZodType | undefined>((at, part) => child(unwrapped(at), part), schema);
}

function child(schema: z.core.$ZodType | undefined, part: PropertyKey): z.core.$ZodType | undefined {
  const definition = schema?._zod.def as z.core.$ZodTypes["_zod"]["def"] | undefined;
  if (definition?.type === "object") return definition.shape[String(part)];
  if (definition?.type === "record") return definition.valueType;
  if (definition?.type === "array") return definition.element;
  return undefined;
}

function knownKeys(schema: z.core.$ZodType | undefined): string[] {
  const definition = unwrapped(schema)?._zod.def as z.core.$ZodTypes["_zod"]["def"] | undefined;
  return definition?.type === "object" ? Object.keys(definition.shape) : [];
}

/** The schema inside optionals and defaults. */
function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  const definition = schema?._zod.def as z.core.$ZodTypes["_zod"]["def"] | undefined;
  if (definition?.type === "optional" || definition?.type === "default" || definition?.type === "nullable") {
    return unwrapped(definition.innerType);
  }
  return schema;
}
