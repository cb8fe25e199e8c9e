/** What happened and who is there: audit, decisions, runtimes, propagation. */
import { type AuditEvent, FlagbackError } from "@flagback/schemas";
import * as z from "zod";
import { Serial } from "../../engine/serial.ts";
import { replayDecision } from "../../evaluator/replay-decision.ts";
import type { App, ServerContext } from "../context.ts";
import { busy } from "../retry-later.ts";

/** Rows in one answer. */
const MAX_ROWS = 1_000;
/** Longest that a request waits for the next row. */
const MAX_WAIT_MS = 30_000;

/** Replays that wait for their turn, or have it: each may take a second. */
const MAX_WAITING_REPLAYS = 16;
const REPLAY_RETRY_MS = 5_000;

const AuditQuery = z.object({
  after: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ROWS).default(100),
  target: z.string().optional(),
  decision: z.string().optional(),
  waitMs: z.coerce.number().int().min(0).max(MAX_WAIT_MS).default(0),
});

export function recordRoutes(app: App, context: ServerContext): void {
  /** One at a time: however many are asked for, others wait for a page of one. */
  const replays = new Serial();
  let waiting = 0;

  app.get("/v1/audit", { config: { access: "viewer" }, schema: { querystring: AuditQuery } }, async (request) => {
    const { after, limit, target, decision, waitMs } = request.query;
    const read = async () =>
      (await context.store.readAudit({ after, limit, target, decisionId: decision })).map(withVersion);
    const { auditSignal, held } = context;
    const { rings } = auditSignal;
    const events = await read();
    if (events.length > 0 || waitMs === 0) return { events };
    await held.hold(request, waitMs, (wake) => auditSignal.listen(wake, rings));
    // Revoking rings too: a poll that waited since before it learns nothing more.
    context.tokens.assertLive(request.token);
    return { events: await read() };
  });

  app.get(
    "/v1/decisions/:id/replay",
    { config: { access: "viewer" }, schema: { params: z.object({ id: z.string() }) } },
    async (request) => {
      if (waiting >= MAX_WAITING_REPLAYS) throw busy(`${waiting} decisions are being replayed.`, REPLAY_RETRY_MS);
      waiting += 1;
      const replay = replays.run(async () => {
        const decision = await context.store.readDecision(request.params.id);
        // Where whoever asked has gone, there is nobody to tell what it came to.
        return (
          decision &&
          replayDecision(decision, async (page) =>
            request.raw.socket.destroyed ? [] : context.store.frozenTicks(decision, page),
          )
        );
      });
      const replayed = await replay.finally(() => {
        waiting -= 1;
      });
      // It may have waited for others.
      context.tokens.assertLive(request.token);
      if (replayed) return replayed;
      throw new FlagbackError({
        code: "decision_not_found",
        message: `There is no decision ${request.params.id}.`,
        hint: "The audit rows of rollbacks name theirs: flagback audit --json.",
      });
    },
  );

  app.get("/v1/runtimes", { config: { access: "viewer" } }, () => ({ runtimes: context.hub.runtimes() }));

  app.get(
    "/v1/propagation/:revision",
    { config: { access: "viewer" }, schema: { params: z.object({ revision: z.coerce.number().int().min(1) }) } },
    (request) => {
      const spread = context.hub.propagation.find(request.params.revision);
      if (spread) return spread;
      throw new FlagbackError({
        code: "not_found",
        message: `Nothing is known of how revision ${request.params.revision} spread since the server started.`,
        hint: "The audit row keeps its last state as switchStatus: flagback audit.",
      });
    },
  );
}

/** Names the version that a decision is about: an allow lets traffic come to it, a stop takes the traffic from it. */
function withVersion(event: AuditEvent): AuditEvent {
  const { decision, fromVersion, toVersion } = event;
  const version = decision === "allow" ? toVersion : decision === "stop" ? fromVersion : undefined;
  return version === undefined ? event : { ...event, version };
}
