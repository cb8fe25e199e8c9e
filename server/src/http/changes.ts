/**
 * How every change is asked for over HTTP: `If-Match`, `Idempotency-Key`, and `?wait=applied`. Refusals are not kept for
 * repeats: they changed nothing, and what they complained of may be mended.
 */
import type { Command } from "@flagback/core";
import { type ChangeAnswer, FlagbackError } from "@flagback/schemas";
import type { FastifyReply, FastifyRequest } from "fastify";
import * as z from "zod";
import { digestOf } from "../engine/canonical.ts";
import type { Executed, ExecuteOptions } from "../engine/engine.ts";
import type { RequestKey, WriteRecord } from "../store/store.ts";
import { actorOf, type ServerContext } from "./context.ts";

/** Longest that a request waits for runtimes to apply its change, in milliseconds. */
const MAX_WAIT_MS = 60_000;
const DEFAULT_WAIT_MS = 5_000;
/** Characters of an `Idempotency-Key`; the server keeps each for a day. */
const MAX_KEY_LENGTH = 128;

/** Query of every change. */
export const ChangeQuery = z.object({
  wait: z.literal("applied").optional(),
  timeoutMs: z.coerce.number().int().min(1).max(MAX_WAIT_MS).default(DEFAULT_WAIT_MS),
});
export type ChangeQuery = z.infer<typeof ChangeQuery>;

/** What a change reads of its request. */
type ChangeRequest = Pick<FastifyRequest, "headers" | "id" | "log" | "method" | "raw" | "url" | "token" | "tracing"> & {
  readonly body: unknown;
};

/** Carries out a request's command and answers as every change does. */
export async function change(
  context: ServerContext,
  request: ChangeRequest & { readonly query: ChangeQuery },
  command: Command,
): Promise<ChangeAnswer> {
  const executed = await context.engine.execute(command, actorOf(request.token), optionsOf(request));
  const { wait, timeoutMs } = request.query;
  if (wait !== "applied") return answerOf(executed);
  const { revision } = executed;
  const { propagation } = context.hub;
  // The change is done: where there is no place to wait at, it is answered as far as it has come.
  if ((propagation.progressOf(revision)?.waiting ?? 0) > 0)
    await context.held.holdIfRoom(request, timeoutMs, (wake) => propagation.whenSettled(revision, wake));
  const spread = propagation.find(revision);
  if (!spread) return answerOf(executed);
  const { acknowledgements, ...rest } = spread;
  return { ...answerOf(executed), propagation: rest };
}

/**
 * Carries out what changes no document (tokens, webhooks), with its audit row, and once for each `Idempotency-Key`.
 * `work` writes the record that `recordOf` makes of its audit row and of the answer to repeats, which holds no secret.
 */
export async function administer<Answer>(
  context: ServerContext,
  request: ChangeRequest,
  work: (recordOf: (row: AuditText, repeatAnswer: unknown) => WriteRecord, at: string) => Promise<Answer>,
): Promise<Answer> {
  const key = requestKeyOf(request);
  const at = new Date(context.now()).toISOString();
  const actor = actorOf(request.token);
  let written: AuditText | undefined;
  const recordOf = (row: AuditText, repeatAnswer: unknown): WriteRecord => {
    written = row;
    return {
      audit: { ...row, actor, timestamp: at },
      idempotency: key && { ...key, answer: repeatAnswer },
    };
  };
  const answer = await context.engine.once(key, () => work(recordOf, at));
  if (written) {
    const { action, target, summary } = written;
    request.log.info({ action, target, actor: actor.name }, summary);
  }
  context.auditSignal.ring();
  return answer;
}

type AuditText = Pick<WriteRecord["audit"], "action" | "target" | "summary">;

/** Says which edit of the document is answered, for `If-Match`. */
export function withETag<Document extends { readonly edit: number }>(
  reply: Pick<FastifyReply, "header">,
  document: Document,
): Document {
  reply.header("etag", `"${document.edit}"`);
  return document;
}

/** Headers of a change. @throws FlagbackError `bad_request` where `If-Match` or `Idempotency-Key` is none. */
export function optionsOf(request: ChangeRequest): ExecuteOptions {
  return {
    ...ifMatchOf(request.headers["if-match"]),
    idempotency: requestKeyOf(request),
    requestId: request.id,
    trace: request.tracing?.context,
  };
}

function requestKeyOf(request: ChangeRequest): RequestKey | undefined {
  const key = request.headers["idempotency-key"];
  if (typeof key !== "string") return undefined;
  if (key.length === 0 || key.length > MAX_KEY_LENGTH) {
    throw new FlagbackError({
      code: "bad_request",
      message: `The Idempotency-Key has ${key.length} characters; 1 to ${MAX_KEY_LENGTH} are taken.`,
      hint: "Make a fresh UUID for each new request.",
    });
  }
  const bodyHash = digestOf([request.method, request.url, request.body ?? null]);
  return { tokenId: request.token.id, key, bodyHash };
}

/** What a change answers that does not wait. */
export function answerOf(executed: Executed): ChangeAnswer {
  const { status, action, summary, auditId, decisionId, incident, coordinated, revision } = executed;
  return { revision, change: { status, action, summary, auditId, decisionId, incident, coordinated } };
}

/** The edit of a document, or the digest of a plan. */
function ifMatchOf(header: string | undefined): Pick<ExecuteOptions, "ifMatch" | "ifPlan"> {
  if (header === undefined || header === "*") return { ifMatch: header };
  const [, edit, plan] = /^"?(?:(\d{1,15})|([0-9a-f]{64}))"?$/.exec(header) ?? [];
  if (edit !== undefined) return { ifMatch: Number(edit) };
  if (plan !== undefined) return { ifPlan: plan };
  throw new FlagbackError({
    code: "bad_request",
    message: `If-Match is ${header}, which is no edit of a document.`,
    hint: 'Send the ETag that the document was answered with, such as If-Match: "12".',
  });
}
