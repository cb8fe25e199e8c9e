/**
 * The link in an alert: `GET` shows what is asked, and never decides, because chat tools open every link to preview it; `POST` of
 * the form that it shows decides, once.
 */
import type { Command } from "@flagback/core";
import {
  type Actor,
  type AskedDecision,
  type ErrorCode,
  FlagbackError,
  MAX_TEXT_LENGTH,
  Reason,
  SHORT_ID_LENGTH,
} from "@flagback/schemas";
import type { FastifyReply, FastifyRequest } from "fastify";
import * as z from "zod";
import { LINK_ROLE, type LinkClaim } from "../../decisions/decision-links.ts";
import { messagePage, pagePolicy, questionPage } from "../../decisions/link-page.ts";
import type { App, ServerContext } from "../context.ts";
import { errorHeaders } from "../retry-later.ts";

const PATH = "/v1/decisions/:id/link";
/** A reason of the longest kind, each character of it percent-encoded. */
const MAX_FORM_BYTES = 16 * MAX_TEXT_LENGTH;

const Query = z.object({ round: z.coerce.number().int().min(1), webhook: z.string(), signature: z.string() });
const Form = z.object({ answer: z.enum(["approve", "reject"]), reason: Reason });

export function decisionLinkRoutes(app: App, context: ServerContext): void {
  // In a scope of its own, so that no other route takes a form: those are what other web pages can send.
  app.register((scope, _options, ready) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser<string>(
      "application/x-www-form-urlencoded",
      { parseAs: "string" },
      (_request, body, done) => done(null, body),
    );
    scope.get(PATH, { config: { access: "anybody" } }, (request, reply) =>
      answered(reply, async () => {
        const link = linked(context, request);
        // What would be refused is said now; nothing is changed by asking so.
        const would = context.engine.preview(commandOf(link, "approve", "shown"), actorOf(link));
        if (would.kind !== "change") return messagePage(DONE_ALREADY, would.summary);
        return questionPage(link.asked, LINK_ROLE, MAX_TEXT_LENGTH);
      }),
    );
    scope.post(PATH, { config: { access: "anybody" }, bodyLimit: MAX_FORM_BYTES }, (request, reply) =>
      answered(reply, async () => {
        const link = linked(context, request);
        const { answer, reason } = formOf(request.body);
        const { summary, status } = await context.engine.execute(commandOf(link, answer, reason), actorOf(link), {
          requestId: request.id,
          trace: request.tracing?.context,
        });
        const title = status === "done" ? "Thank you" : DONE_ALREADY;
        return messagePage(title, summary, "The audit log keeps who answered, why, and by which link.");
      }),
    );
    ready();
  });
}

const DONE_ALREADY = "That was done already";

interface Link {
  readonly asked: AskedDecision;
  readonly claim: LinkClaim;
}

/** The decision that a link is of. @throws FlagbackError `link_invalid`, which never says what was wrong with it */
function linked(context: ServerContext, request: FastifyRequest): Link {
  const query = Query.safeParse(request.query);
  const asked = context.engine.world.asked.get((request.params as { readonly id: string }).id);
  if (query.success && asked) {
    const { signature, ...claim } = query.data;
    const isOurs = context.links?.isSigned(asked, claim, signature) && context.webhooks.has(claim.webhook);
    if (isOurs) return { asked, claim };
  }
  throw new FlagbackError({
    code: "link_invalid",
    message: "This link is none that this server has sent, or the webhook that it was sent to was removed.",
    hint: 'Look for a newer alert, or answer with a token: flagback decisions, then flagback approve ID --reason "...".',
  });
}

function commandOf({ asked, claim }: Link, kind: z.infer<typeof Form>["answer"], reason: string): Command {
  return { kind, alias: asked.alias, decision: asked.id, round: claim.round, reason };
}

/** The link itself, because nobody knows who opened it; with the webhook that it was sent to. */
function actorOf({ asked, claim }: Link): Actor {
  return { kind: "link", name: `link:${asked.id.slice(0, SHORT_ID_LENGTH)}`, id: claim.webhook };
}

/** @throws FlagbackError `bad_request` */
function formOf(body: unknown): z.infer<typeof Form> {
  const fields = Object.fromEntries(new URLSearchParams(typeof body === "string" ? body : ""));
  const form = Form.safeParse(fields);
  if (form.success) return form.data;
  throw new FlagbackError({
    code: "bad_request",
    message: "The form lacks an answer, or who you are and why.",
    hint: "Go back, and fill it in. Nothing was changed.",
  });
}

/** A page for people, also where the request is refused. What nobody foresaw is the error handler's. */
async function answered(reply: FastifyReply, make: () => Promise<string>): Promise<FastifyReply> {
  reply.type("text/html; charset=utf-8").header("content-security-policy", pagePolicy());
  try {
    return reply.send(await make());
  } catch (error) {
    if (!(error instanceof FlagbackError)) throw error;
    const page = messagePage(TITLES[error.code] ?? "This did not work", error.message, error.hint);
    return reply.status(error.status).headers(errorHeaders(error)).send(page);
  }
}

const TITLES: Partial<Record<ErrorCode, string>> = {
  decision_expired: "Too late",
  decision_not_open: "This is decided already",
  link_invalid: "This link is not valid",
};
