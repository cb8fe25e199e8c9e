/** Triggers: what monitoring outside may do, and the door through which it does it. */
import { isUtf8 } from "node:buffer";
import { triggerNotFound } from "@flagback/core";
import { type ChangeAnswer, FlagbackError, Name, type Trigger, TriggerDefinition } from "@flagback/schemas";
import type { FastifyRequest } from "fastify";
import * as z from "zod";
import { digestOf } from "../../engine/canonical.ts";
import { MAX_SIGNAL_BYTES } from "../../limits.ts";
import type { StoredToken } from "../../store/store.ts";
import { commandOf, readingOf } from "../../triggers/reading.ts";
import { triggerActor } from "../../triggers/signal-audit.ts";
import type { SignalSender, SignatureHeaders } from "../../triggers/signal-sender.ts";
import { readSignals } from "../../triggers/signals.ts";
import { answerOf, ChangeQuery, change, withETag } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

const ById = z.object({ id: z.string() });

declare module "fastify" {
  interface FastifyRequest {
    /** How a signal is known; only on the route that takes them. */
    sender: { readonly token: StoredToken } | { readonly signed: SignatureHeaders };
  }
}

export function triggerRoutes(app: App, context: ServerContext, senders: SignalSender): void {
  app.get("/v1/triggers", { config: { access: "viewer" } }, () => ({
    triggers: [...context.engine.world.triggers.values()],
  }));

  app.get("/v1/triggers/:id", { config: { access: "viewer" }, schema: { params: ById } }, (request, reply) =>
    withETag(reply, findTrigger(context, request.params.id)),
  );

  app.put(
    "/v1/triggers/:id",
    {
      config: { access: "admin" },
      schema: { params: z.object({ id: Name }), body: TriggerDefinition, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "putTrigger", id: request.params.id, definition: request.body }),
  );

  app.delete(
    "/v1/triggers/:id",
    { config: { access: "admin" }, schema: { params: ById, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "deleteTrigger", id: request.params.id }),
  );

  // In a scope of its own, because a signature is of the body's bytes and not of what they mean.
  void app.register((scope: App, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser<Buffer>("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    scope.post(
      "/v1/triggers/:id",
      {
        config: {
          access: async (request) => {
            const { id } = request.params as z.infer<typeof ById>;
            const sender = await noted(context, id, () => senders.ofHeaders(request.raw, id));
            request.sender = sender;
            return "token" in sender ? sender.token : undefined;
          },
        },
        bodyLimit: MAX_SIGNAL_BYTES,
        schema: { params: ById },
      },
      (request) => noted(context, request.params.id, () => take(context, senders, request.params.id, request)),
    );
    done();
  });
}

/** Takes one signal. @throws FlagbackError where it is nobody's that is known, can't be read, or can't be carried out */
async function take(
  context: ServerContext,
  senders: SignalSender,
  id: string,
  request: FastifyRequest,
): Promise<ChangeAnswer> {
  const body = textOf(request.body);
  const { sender } = request;
  const token = "token" in sender ? sender.token : senders.ofSignature(request.raw, id, sender.signed, body);
  const trigger = findTrigger(context, id);
  const reading = readingOf(trigger, readSignals(trigger.format, jsonOf(body)));
  if (reading.kind === "ignore") {
    context.metrics.signals.inc({ trigger: id, result: "ignored" });
    await context.signalAudit.accepted(id, { summary: reading.because });
    const { revision } = context.engine.history.head;
    return { revision, change: { status: "unchanged", action: "trigger.signal", summary: reading.because } };
  }
  const executed = await context.engine.execute(commandOf(trigger, reading.reason), triggerActor(id), {
    requestId: request.id,
    trace: request.tracing?.context,
    // A signed message that is sent again, by its sender or by who overheard it, is answered as it was the first time.
    ...("signed" in sender && {
      idempotency: { tokenId: token.id, key: `signal ${sender.signed.id}`, bodyHash: digestOf([id, body]) },
    }),
  });
  const { status, summary, decisionId, incident } = executed;
  context.metrics.signals.inc({ trigger: id, result: status === "done" ? "acted" : "unchanged" });
  if (status !== "done") await context.signalAudit.accepted(id, { summary, decisionId, incident });
  return answerOf(executed);
}

/** Notes that a signal for a trigger that there is was refused. The refusal stands, also where the disk does not take the note. */
async function noted<Result>(
  context: ServerContext,
  id: string,
  work: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FlagbackError && context.engine.world.triggers.has(id)) {
      context.metrics.signals.inc({ trigger: id, result: "refused" });
      await context.signalAudit.refused(id, error.message).catch(() => undefined);
    }
    throw error;
  }
}

function findTrigger(context: ServerContext, id: string): Trigger {
  const trigger = context.engine.world.triggers.get(id);
  if (trigger) return trigger;
  throw new FlagbackError(triggerNotFound(id));
}

function textOf(body: unknown): string {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  if (isUtf8(bytes)) return bytes.toString();
  throw unreadable("is not UTF-8");
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable("is no JSON");
  }
}

function unreadable(problem: string): FlagbackError {
  return new FlagbackError({
    code: "signal_invalid",
    message: `The body ${problem}.`,
    hint: "Send the signal as JSON in UTF-8; docs/operations/signals.md shows each format.",
  });
}
