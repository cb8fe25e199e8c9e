/**
 * How every change is asked for over HTTP: `If-Match`, `Idempotency-Key`, and `?wait=applied`.
 */
import type { Command } from "@flagback/core";
import { type ChangeAnswer, FlagbackError } from "@flagback/schemas";
import type { FastifyRequest } from "fastify";
import * as z from "zod";
import { digestOf } from "../engine/canonical.ts";
import type { Executed, ExecuteOptions } from "../engine/engine.ts";
import { actorOf, type ServerContext } from "./context.ts";

/** Longest that a request waits for runtimes to apply its change, in milliseconds. */
const MAX_WAIT_MS = 60_000;
const DEFAULT_WAIT_MS = 5_000;

/** Query of every change. */
export const ChangeQuery = z.object({
  wait: z.literal("applied").optional(),
  timeoutMs: z.coerce.number().int().min(1).max(MAX_WAIT_MS).default(DEFAULT_WAIT_MS),
});
export type ChangeQuery = z.infer<typeof ChangeQuery>;

/** What a change reads of its request. */
type ChangeRequest = Pick<FastifyRequest, "headers" | "method" | "url" | "token"> & { readonly body: unknown };

/** Carries out a request's command and answers as every change does. */
export async function change(
  context: ServerContext,
  request: ChangeRequest & { readonly query: ChangeQuery },
  command: Command,
): Promise<ChangeAnswer> {
  const executed = await context.engine.execute(command, actorOf(request.token), optionsOf(request));
  return answer(context, executed, request.query);
}

/** Headers of a change. @throws FlagbackError `bad_request` where `If-Match` is no revision. */
export function optionsOf(request: ChangeRequest): ExecuteOptions {
  const key = request.headers["idempotency-key"];
  return {
    ifMatch: ifMatchOf(request.headers["if-match"]),
    ...(typeof key === "string"
      ? {
          idempotency: {
            tokenId: request.token.id,
            key,
            bodyHash: digestOf([request.method, request.url, request.body ?? null]),
          },
        }
      : {}),
  };
}

async function answer(context: ServerContext, executed: Executed, query: ChangeQuery): Promise<ChangeAnswer> {
  const { status, action, summary, auditId, decisionId, incident, revision } = executed;
  const body: ChangeAnswer = { revision, change: { status, action, summary, auditId, decisionId, incident } };
  if (query.wait !== "applied") return body;
  await context.hub.propagation.settled(revision, query.timeoutMs);
  const spread = context.hub.propagation.find(revision);
  if (!spread) return body;
  const { acknowledgements, ...propagation } = spread;
  return { ...body, propagation };
}

function ifMatchOf(header: string | undefined): number | undefined {
  if (header === undefined || header === "*") return undefined;
  const [, revision] = /^"?(\d{1,15})"?$/.exec(header) ?? [];
  if (revision !== undefined) return Number(revision);
  throw new FlagbackError({
    code: "bad_request",
    message: `If-Match is ${header}, which is no revision.`,
    hint: 'Send the document\'s revision, such as If-Match: "12".',
  });
}
