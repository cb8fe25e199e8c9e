/**
 * Reads what a server left in its files, from a copy, so that the next one meets the journal as it was left.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alias, KillSwitch, SwitchEntry } from "@flagback/schemas";
import Database from "better-sqlite3";
import { AGENTS, WRITE_SWITCH } from "./cast.ts";
import type { AuditRow, DatabaseFacts } from "./history.ts";

export class DatabaseReader {
  readonly #dataDir: string;
  readonly #webhookId: string;
  #auditId = 0;
  #revision = 0;
  #alertId = 0;
  #runsThrough = 0;
  #feedbackNumber = 0;
  readonly #decisions = new Set<string>();

  /** @param webhookId the webhook whose alerts are read */
  constructor(dataDir: string, webhookId: string) {
    this.#dataDir = dataDir;
    this.#webhookId = webhookId;
  }

  /** What is new since the last call, and what is. Nobody may have the files open. */
  async read(): Promise<DatabaseFacts> {
    const copy = await mkdtemp(join(tmpdir(), "flagback-facts-"));
    try {
      for (const ending of ["", "-wal"]) {
        const file = `flagback.db${ending}`;
        await cp(join(this.#dataDir, file), join(copy, file), { force: true }).catch((error) => {
          if (ending === "" || error.code !== "ENOENT") throw error;
        });
      }
      const database = new Database(join(copy, "flagback.db"));
      try {
        return this.#facts(database);
      } finally {
        database.close();
      }
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  }

  #facts(database: Database.Database): DatabaseFacts {
    const all = <Row>(sql: string, ...values: unknown[]) => database.prepare(sql).all(...values) as Row[];
    const documents = <Document>(kind: string) =>
      all<{ document: string }>("SELECT document FROM documents WHERE kind = ?", kind).map(
        ({ document }) => JSON.parse(document) as Document,
      );
    const audit = all<AuditRow>(
      `SELECT id, revision, action, target, actor ->> '$.kind' AS actor, reason, from_version AS fromVersion,
        to_version AS toVersion, incident, decision_id AS decisionId FROM audit WHERE id > ? ORDER BY id`,
      this.#auditId,
    );
    this.#auditId = audit.at(-1)?.id ?? this.#auditId;
    const revisions = all<{ revision: number }>(
      "SELECT revision FROM history WHERE revision > ? ORDER BY revision",
      this.#revision,
    ).map(({ revision }) => revision);
    this.#revision = revisions.at(-1) ?? this.#revision;
    const decisions = all<{ id: string; incident: string }>("SELECT id, incident FROM decisions").filter(
      ({ id }) => !this.#decisions.has(id),
    );
    const incidents = all<{ id: string; decisionId: string; revision: number }>(
      `SELECT id, document ->> '$.decisionId' AS decisionId, document ->> '$.revision' AS revision FROM incidents`,
    ).filter(({ decisionId }) => !this.#decisions.has(decisionId));
    for (const { decisionId } of incidents) this.#decisions.add(decisionId);
    for (const { id } of decisions) this.#decisions.add(id);
    const alerts = all<{ id: number; alert: string; incident: string | null }>(
      `SELECT id, body ->> '$.kind' AS alert, body ->> '$.incident' AS incident FROM outbox
        WHERE webhook_id = ? AND id > ? ORDER BY id`,
      this.#webhookId,
      this.#alertId,
    );
    this.#alertId = alerts.at(-1)?.id ?? this.#alertId;
    const runs = all<{ through: number; agent: string; version: string; runIds: string }>(
      "SELECT through, alias AS agent, version, run_ids AS runIds FROM runs WHERE through > ? ORDER BY through",
      this.#runsThrough,
    );
    this.#runsThrough = runs.at(-1)?.through ?? this.#runsThrough;
    const feedback = all<{ number: number; id: string }>(
      "SELECT number, id FROM feedback WHERE number > ? ORDER BY number",
      this.#feedbackNumber,
    );
    this.#feedbackNumber = feedback.at(-1)?.number ?? this.#feedbackNumber;
    return {
      epoch: (all<{ value: string }>("SELECT value FROM meta WHERE key = 'epoch'")[0] as { value: string }).value,
      audit,
      revisions,
      aliases: documents<Alias>("alias")
        .filter(({ name }) => AGENTS.includes(name))
        .map(({ name, stable, allocation, locks }) => ({
          agent: name,
          exposed: [
            ...new Set(
              allocation.flatMap(({ version, weight }) => (version === stable || weight === 0 ? [] : [version])),
            ),
          ],
          locked: locks.map(({ version }) => version),
        })),
      engaged: documents<KillSwitch>("killSwitch")
        .filter(({ key }) => key === WRITE_SWITCH)
        .flatMap(({ engaged }) => engaged)
        .map(({ owner, id, scope }: SwitchEntry) => ({ owner, id, scope })),
      decisions,
      incidents,
      alerts: alerts.map(({ id, ...rest }) => ({ ...rest, id: `flagback-${id}` })),
      totals: all(`SELECT alias AS agent, version, sum(assigned) AS assigned, sum(settled) AS settled,
        sum(failures) AS failures FROM totals GROUP BY alias, version`),
      through: all("SELECT instance, through AS seq FROM instances"),
      runs: runs.flatMap(({ agent, version, runIds }) =>
        (JSON.parse(runIds) as string[]).map((runId) => ({ agent, version, runId })),
      ),
      feedback: feedback.map(({ id }) => id),
    };
  }
}
