/** The poll path beside the stream (DESIGN 6): what is newer, and a lease. */
import { type Cursor, FlagbackError, RuntimeHeaders, SnapshotQuery } from "@flagback/schemas";
import { textOf } from "../../stream/text-frame.ts";
import type { App, ServerContext } from "../context.ts";

export function snapshotRoute(app: App, context: ServerContext): void {
  app.get(
    "/v1/snapshot",
    { config: { access: "runtime" }, schema: { querystring: SnapshotQuery } },
    (request, reply) => {
      const { head, epoch } = context.engine.history;
      const { after, lease } = request.query;
      // What can't be read says nothing; older clients send none of it.
      const said = RuntimeHeaders.safeParse(request.headers).data;
      const held = cursorOf(after, said);
      if (said && context.book.belongsToOther(said["flagback-instance"], request.token.id)) {
        throw new FlagbackError({
          code: "forbidden",
          message: "This instance belongs to another token.",
          hint: "Let each runtime make its own instance id, 32 random hex digits.",
        });
      }
      if (said && lease !== undefined) {
        context.hub.polled(request.token, said["flagback-instance"], said["flagback-sdk"], held);
      }
      void reply.headers({
        "cache-control": "no-store",
        "flagback-epoch": epoch,
        "flagback-revision": head.revision,
        "flagback-mark": head.mark,
        "flagback-lease-ms": context.leaseMs,
        ...(lease === undefined ? {} : { "flagback-lease": lease }),
      });
      const isElsewhere = held !== undefined && (held.epoch !== epoch || held.mark !== head.mark);
      if (after === head.revision && !isElsewhere) return reply.status(304).send();
      // The same encoding as the stream's, shared by all that ask for it.
      return reply.type("application/json").send(textOf(context.hub.frames.snapshot(request.token.aliases)));
    },
  );
}

/** What the runtime holds, where it says of which history. */
function cursorOf(revision: number | undefined, said: RuntimeHeaders | undefined): Cursor | undefined {
  const epoch = said?.["flagback-epoch"];
  const mark = said?.["flagback-mark"];
  return revision === undefined || epoch === undefined || mark === undefined ? undefined : { epoch, revision, mark };
}
