/**
 * Every error as an RFC 9457 problem document with flagback's `code` and `hint`.
 */
import { FlagbackError, MAX_VERSION_ID_LENGTH, problemOf } from "@flagback/schemas";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import type { ZodType } from "zod";
import { describeProblems, pathText, problemsCode } from "../config/problems.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";
import { errorHeaders } from "./retry-later.ts";

/** Fastify's error handler. What nobody foresaw is logged whole and answered without detail. */
export function handleError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const known = asFlagbackError(error, request);
  if (known.code === "internal_error")
    request.log.error({ err: error, route: request.routeOptions.url }, "a request failed");
  sendProblem(reply, known);
}

function sendProblem(reply: FastifyReply, error: FlagbackError): void {
  void reply
    .status(error.status)
    .headers({ ...errorHeaders(error), [REQUEST_ID_HEADER]: reply.request.id })
    .type("application/problem+json")
    .send(JSON.stringify(problemOf(error, reply.request.id)));
}

function asFlagbackError(error: FastifyError, request: FastifyRequest): FlagbackError {
  if (error instanceof FlagbackError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) return invalidRequest(error, request);
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new FlagbackError({
      code: "payload_too_large",
      message: "The request's body is larger than the server takes.",
      hint: "Send less at once.",
    });
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new FlagbackError({
      code: "bad_request",
      message: messageOf(error),
      hint: hintOf(error.code),
    });
  }
  return new FlagbackError(
    {
      code: "internal_error",
      message: "The server met an error that it did not expect.",
      hint: `Its log has the details, on the line with requestId ${request.id}.`,
    },
    { cause: error },
  );
}

function messageOf({ code, message }: FastifyError): string {
  // Fastify repeats the whole path, of up to 16 KiB.
  if (code === "FST_ERR_MAX_PARAM_LENGTH")
    return `A part of the path has more than ${MAX_VERSION_ID_LENGTH} characters.`;
  return `${message}.`.replace(/\.\.$/, ".");
}

function hintOf(code: string): string {
  switch (code) {
    case "FST_ERR_BAD_URL":
      return "Encode what stands in the path with percent signs, as RFC 3986 says.";
    case "FST_ERR_MAX_PARAM_LENGTH":
      return "A name in the path is longer than any name or version id can be.";
    default:
      return "Send JSON with content-type application/json (or YAML with text/yaml to /v1/apply).";
  }
}

function invalidRequest(
  error: Pick<FastifyError, "validationContext"> & {
    readonly validation: readonly { readonly instancePath: string; readonly message?: string | undefined }[];
  },
  request: FastifyRequest,
): FlagbackError {
  const part = (error.validationContext ?? "body") as "body" | "querystring" | "params";
  const schema = (request.routeOptions.schema as Record<string, ZodType> | undefined)?.[part];
  const value = part === "body" ? request.body : part === "params" ? request.params : request.query;
  // The library keeps zod's issues in a shape of its own; parsing again gives them whole, for the nearest known key.
  const parsed = schema?.safeParse(value);
  const problems =
    schema && parsed && !parsed.success
      ? describeProblems(parsed.error.issues, schema)
      : error.validation.map(
          (each) => `${pathText(each.instancePath.split("/").filter(Boolean)) || part}: ${each.message}`,
        );
  return new FlagbackError({
    code: parsed && !parsed.success ? problemsCode(parsed.error.issues) : "bad_request",
    message: `The request's ${part} is not valid: ${problems.join("; ")}.`,
    hint: "Correct it; nothing was changed.",
    problems,
  });
}
