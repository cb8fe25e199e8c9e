/** A copy of everything, for whoever may have everything. */
import { type App, actorOf, type ServerContext } from "../context.ts";

export function backupRoute(app: App, context: ServerContext): void {
  // No GET: it leaves an audit row, and makes a copy of the database.
  app.post("/v1/backup", { config: { access: "admin" } }, async (request, reply) => {
    const { engine, backups, auditSignal } = context;
    const actor = actorOf(request.token);
    await engine.audit({ action: "database.backup", actor, target: "database", summary: "Took a backup." });
    auditSignal.ring();
    // What is counted until now is in it, and not only what is acknowledged.
    await engine.flushLedger();
    const { stream, bytes } = await backups.make();
    return reply
      .headers({
        "cache-control": "no-store",
        "content-type": "application/gzip",
        "flagback-revision": engine.history.head.revision,
        "flagback-database-bytes": bytes,
      })
      .send(stream);
  });
}
