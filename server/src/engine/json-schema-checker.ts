/**
 * Checks payloads by the JSON Schema of their alias. A schema is compiled once, and forgotten with the document that it is in.
 */
import type { PayloadChecker } from "@flagback/core";
import type { Json, JsonSchema } from "@flagback/schemas";
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";

/** Problems of one payload that are told; more help nobody. */
const MAX_PROBLEMS = 10;

/** Schemas that are compiled before the library, which keeps something of each, is begun anew. */
const MAX_COMPILED = 200;

const DRAFT_7 = "http://json-schema.org/draft-07/schema";

const OPTIONS: Options = {
  allErrors: true,
  // A misspelt keyword would demand nothing. What is only unusual passes.
  strictSchema: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowUnionTypes: true,
  // An annotation in draft 2020-12 by default.
  validateFormats: false,
  ownProperties: true,
  logger: false,
};

type Compiled = { readonly validate: ValidateFunction } | { readonly problem: string };

export class JsonSchemaChecker implements PayloadChecker {
  readonly #compiled = new WeakMap<JsonSchema, Compiled>();
  #drafts = newDrafts();
  #compilations = 0;

  schemaProblem(schema: JsonSchema): string | undefined {
    const compiled = this.#compile(schema);
    return "problem" in compiled ? compiled.problem : undefined;
  }

  payloadProblems(schema: JsonSchema, payload: Json): readonly string[] {
    const compiled = this.#compile(schema);
    if ("problem" in compiled) return [`can't be checked: ${compiled.problem}`];
    if (compiled.validate(payload) === true) return [];
    return (compiled.validate.errors ?? []).slice(0, MAX_PROBLEMS).map(sentence);
  }

  #compile(schema: JsonSchema): Compiled {
    const found = this.#compiled.get(schema);
    if (found) return found;
    const compiled = this.#compileAnew(schema);
    this.#compiled.set(schema, compiled);
    return compiled;
  }

  #compileAnew(schema: JsonSchema): Compiled {
    // What validates asynchronously answers a promise, which is as good as true to whoever looks at it at once.
    if ("$async" in schema) return { problem: "$async is not supported" };
    this.#compilations += 1;
    if (this.#compilations % MAX_COMPILED === 0) this.#drafts = newDrafts();
    // One that has a name is alone with it: another alias may have the same, and nobody refers to anybody else's.
    const drafts = "$id" in schema ? newDrafts() : this.#drafts;
    const isDraft7 = typeof schema.$schema === "string" && schema.$schema.replace(/#$/, "") === DRAFT_7;
    try {
      return { validate: drafts[isDraft7 ? "7" : "2020-12"].compile(schema) };
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }
}

function newDrafts() {
  return { "7": new Ajv(OPTIONS), "2020-12": new Ajv2020(OPTIONS) };
}

/** Such as `/tools/0 must have required property 'name'`. */
function sentence({ instancePath, message, keyword, params }: ErrorObject): string {
  const where = instancePath === "" ? "the payload" : instancePath;
  const which =
    keyword === "additionalProperties" || keyword === "unevaluatedProperties"
      ? `: ${params.additionalProperty ?? params.unevaluatedProperty}`
      : keyword === "enum"
        ? `: ${JSON.stringify(params.allowedValues)}`
        : "";
  return `${where} ${message ?? `breaks ${keyword}`}${which}`;
}
