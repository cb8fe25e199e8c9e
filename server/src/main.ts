/**
 * Composition: everything that makes a server, put together once.
 */
import { join } from "node:path";
import { isUnderWay } from "@flagback/core";
import { DEFAULT_KILL_SWITCH } from "@flagback/schemas";
import type { Logger } from "pino";
import { SYSTEM } from "./actors.ts";
import { AlertSender } from "./alerts/alert-sender.ts";
import { postAlert } from "./alerts/post-alert.ts";
import { WebhookGuard } from "./alerts/webhook-guard.ts";
import { Tokens } from "./auth/tokens.ts";
import { DeadlineWatch } from "./decisions/deadline-watch.ts";
import { DecisionLinks } from "./decisions/decision-links.ts";
import { DrillBook } from "./drills/drill-book.ts";
import { Engine } from "./engine/engine.ts";
import { RING_SIZE } from "./engine/history.ts";
import { Evaluator } from "./evaluator/evaluator.ts";
import { FeedbackBook } from "./feedback/feedback-book.ts";
import { createApp } from "./http/app.ts";
import { AuditSignal } from "./http/audit-signal.ts";
import { Door, type DoorOptions } from "./http/door.ts";
import { HeldRequests } from "./http/held-requests.ts";
import { listen } from "./http/listen.ts";
import { GroupCommit, type GroupCommitOptions } from "./ledger/group-commit.ts";
import { LedgerBook } from "./ledger/ledger-book.ts";
import { RUN_WINDOW } from "./ledger/recent-runs.ts";
import { TICK_MS, TickClock } from "./ledger/tick-clock.ts";
import { DEFAULT_DOOR_LIMITS } from "./limits.ts";
import { AddressRanges, isLoopback } from "./net/addresses.ts";
import { RecoveryWatch } from "./recovery/recovery-watch.ts";
import { Backups } from "./store/backup.ts";
import { DATABASE_FILE } from "./store/database-files.ts";
import { DiskHealth } from "./store/disk-health.ts";
import { failpointOf } from "./store/failpoints.ts";
import { inUse } from "./store/in-use.ts";
import { parseKeep, Retention } from "./store/retention.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { DEFAULT_LEASE_MS, Hub } from "./stream/hub.ts";
import { SyntheticChecks } from "./synthetic/synthetic-checks.ts";
import { ChangeWatch } from "./telemetry/change-watch.ts";
import { createLog, logUnlessTheDisk } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { scrape } from "./telemetry/scrape.ts";
import { SignalAudit } from "./triggers/signal-audit.ts";
import { Upkeep } from "./upkeep.ts";

/** How long runtimes may take to close their sockets when the server stops. */
const DRAIN_DEADLINE_MS = 2_000;

/** How often what is past its term is looked for. */
const PRUNE_EVERY_MS = 600_000;

export interface ServerOptions extends DoorOptions {
  /** Folder of the database; made where it is missing. */
  readonly dataDir: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 7780; 0 takes a free one. */
  readonly port?: number;
  /** Default `info`. */
  readonly logLevel?: string;
  /** Default: pino on standard error. */
  readonly log?: Logger;
  readonly heartbeatMs?: number;
  readonly leaseMs?: number;
  readonly groupCommit?: Partial<GroupCommitOptions>;
  /** Addresses or CIDR ranges of this host or a private network that alerts may go to. Default: none. */
  readonly webhookAllow?: readonly string[];
  /** Address of this server in the links that alerts carry, such as `https://flags.example.com`. Default: no links. */
  readonly publicUrl?: string;
  /** How long what is over is kept, such as `audit=400d`. Default: see docs/operations/README.md. */
  readonly keep?: readonly string[];
  /** Default: this machine's. */
  readonly clock?: ServerClock;
}

/** The server's clocks; tests bring their own. */
export interface ServerClock {
  /** Milliseconds since 1970, as `Date.now`. */
  readonly nowMs: () => number;
  /** As `performance.now`: never goes back. */
  readonly monotonicMs: () => number;
}

export interface RunningServer {
  /** Such as `http://127.0.0.1:7780`. */
  readonly url: string;
  /** Only on the first start of a database; it is shown once and kept nowhere. */
  readonly adminToken?: string;
  /** Stops: says goodbye to runtimes, makes counts durable, closes the database. Safe twice. */
  close(): Promise<void>;
}

/**
 * Starts a server.
 * @throws FlagbackError `port_in_use`, `database_in_use`, `database_newer` or `database_corrupt`.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const log = options.log ?? createLog(options.logLevel ?? "info");
  const now = options.clock?.nowMs ?? Date.now;
  const monotonicMs = options.clock?.monotonicMs ?? (() => performance.now());
  const reach = failpointOf(process.env);
  const terms = parseKeep(options.keep ?? []);
  const metrics = createMetrics();
  const health = new DiskHealth({ probe: (bytes) => store.probe(bytes), monotonicMs, log });
  const databaseFile = join(options.dataDir, DATABASE_FILE);
  const store = openSqliteStore(databaseFile, {
    written: (write, ms) => {
      metrics.storeWriteSeconds.observe({ write }, ms / 1_000);
      health.written();
    },
    failed: (error) => health.failed(error),
    reach,
  });
  const closers: (() => unknown)[] = [() => store.close()];
  try {
    const loaded = store.load({ history: RING_SIZE, runs: RUN_WINDOW });
    const engine = new Engine({ store, loaded, now });
    const clock = new TickClock(loaded.tick + 1, monotonicMs);
    const book = new LedgerBook({ world: () => engine.world, clock, loaded });
    engine.attach(book);
    // First of the listeners, so that nobody was told yet.
    if (reach) {
      engine.listen({ committed: () => reach("change.in-memory"), durable: () => reach("ledger.in-memory") });
    }
    const tokens = new Tokens(store, loaded.tokens);
    const webhooks = new Map(loaded.webhooks.map((webhook) => [webhook.id, webhook]));
    const auditSignal = new AuditSignal();
    const held = new HeldRequests({
      limits: { ...DEFAULT_DOOR_LIMITS, ...options.limits },
      monotonicMs,
      dropped: () => metrics.dropped.inc({ reason: "held_requests" }),
    });
    const leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;

    const groupCommit = new GroupCommit({
      flush: () => engine.flushLedger(),
      onFailure: (error) => logUnlessTheDisk(log, error, "counts are not durable yet"),
      options: options.groupCommit,
    });
    const evaluator = new Evaluator({
      engine,
      book,
      monotonicMs,
      now,
      drillPasses: () => drills.passes,
      onError: (error, alias) => logUnlessTheDisk(log.child({ alias }), error, "the brain could not act"),
    });
    const changes = new ChangeWatch({ metrics, log, now, world: engine.world });
    // Before the hub, which tells it how far each change came.
    engine.listen({
      committed: (event) => changes.committed(event, engine.world),
      durable: ({ instances }, waitedMs) => {
        if (instances.length > 0) metrics.ingestWaitSeconds.observe(waitedMs / 1_000);
      },
    });
    // Added up until they are durable, because a counter takes longer than the outcome itself.
    let accepted = 0;
    const feedback = new FeedbackBook({ store, metrics, now });
    const synthetic = new SyntheticChecks({ engine, store, metrics, now, loaded: loaded.checks });
    const hub = new Hub({
      engine,
      book,
      log,
      monotonicMs,
      now,
      heartbeatMs: options.heartbeatMs,
      leaseMs,
      helloTimeoutMs: options.limits?.helloTimeoutMs,
      events: {
        counted: ({ arrivedMs, aliases, rejected, late }, batch) => {
          accepted += batch.items.length - rejected.length;
          if (rejected.length > 0) metrics.reports.inc({ result: "rejected" }, rejected.length);
          // First, so that where both are due at once a rollback writes the counts with it.
          evaluator.markDirty(aliases, arrivedMs);
          groupCommit.schedule(book.unwrittenOutcomes);
          recovery.wake();
          if (late.length > 0) feedback.noteLate(late);
        },
        appliedAfter: (ms) => metrics.propagationSeconds.observe(ms / 1_000),
        spreadEnded: (spread) => changes.spreadEnded(spread),
        lease: (event) => metrics.leases.inc({ event }),
        dropped: (reason) => metrics.dropped.inc({ reason }),
        slowedDown: () => metrics.slowDowns.inc(),
      },
    });
    const drills = new DrillBook({ engine, store, tokens, hub, leaseMs, now, monotonicMs, loaded: loaded.drills });
    const recovery = new RecoveryWatch({
      engine,
      book,
      hub,
      now,
      onError: (error, incident) => logUnlessTheDisk(log, error, `the recovery of ${incident} could not be looked at`),
    });
    const deadlines = new DeadlineWatch({
      engine,
      now,
      monotonicMs,
      onError: (error, decision) => logUnlessTheDisk(log.child({ decision }), error, "a deadline could not be kept"),
    });
    const webhookGuard = new WebhookGuard(AddressRanges.parse(options.webhookAllow ?? [], "--webhook-allow"));
    const links =
      options.publicUrl === undefined ? undefined : new DecisionLinks(options.publicUrl, await store.linkKey());
    const linkOf = (decision: string, round: number, webhook: string) => {
      const asked = engine.world.asked.get(decision);
      return links && asked?.state === "open" && asked.round === round ? links.urlOf(asked, webhook) : undefined;
    };
    const alerts = new AlertSender({
      store,
      webhooks,
      post: (request, signal) => postAlert(request, webhookGuard, signal),
      metrics,
      log,
      now,
      random: Math.random,
      linkOf,
    });
    engine.listen({
      committed: ({ change }) => {
        for (const alias of change.aliases) {
          if (isUnderWay(alias)) book.weightsChanged(alias, clock.now() + 1);
          if (change.action === "rollout.advance") book.stageBegan(alias);
        }
        // After the hub, which has set its doorbell by now.
        auditSignal.ring();
        if (change.alerts.length > 0) alerts.wake();
      },
      durable: () => {
        metrics.reports.inc({ result: "accepted" }, accepted);
        accepted = 0;
      },
    });

    const writePropagation = () => hub.propagation.writeChanged((rows) => store.writePropagation(rows));
    const upkeep = new Upkeep({
      engine,
      health,
      duties: [
        writePropagation,
        () => feedback.flush(),
        () => synthetic.settle(),
        () => drills.endLost(),
        () => alerts.wake(),
      ],
      now,
      onError: (error) => logUnlessTheDisk(log, error, "what is due by the clock could not be done"),
    });
    const tick = setInterval(() => {
      try {
        evaluator.tick();
        const changed = book.advance();
        if (changed.size > 0) evaluator.markDirty(changed);
        if (book.hasUnwritten()) groupCommit.schedule(0);
        recovery.tick();
        deadlines.wake();
      } catch (error) {
        log.error({ err: error }, "the ledgers could not be advanced");
      }
      upkeep.wake();
    }, TICK_MS);
    const retention = new Retention({
      prune: (step) => engine.prune(step),
      inUse: () => inUse(engine.world, (alias) => book.openRollouts(alias)),
      terms,
      now,
      monotonicMs,
      onPruned: (what, rows) => metrics.pruned.inc({ what }, rows),
      log,
    });
    const prune = () =>
      retention.run().catch((error) => logUnlessTheDisk(log, error, "what is past its term could not be dropped"));
    const pruning = setInterval(prune, PRUNE_EVERY_MS);
    pruning.unref();
    void prune();
    closers.unshift(async () => {
      clearInterval(tick);
      clearInterval(pruning);
      await upkeep.close();
      await retention.close();
      await evaluator.close();
      await recovery.close();
      await deadlines.close();
      await groupCommit.close();
      await alerts.close();
      await writePropagation();
      changes.close();
      await feedback.flush();
    });
    const door = new Door(options, { tokens, hub, metrics, log, monotonicMs });
    closers.unshift(() => door.close());
    const app = await createApp(
      {
        engine,
        store,
        health,
        backups: new Backups((file) => store.copyTo(file), `${databaseFile}.backup`),
        book,
        evaluator,
        groupCommit,
        feedback,
        synthetic,
        hub,
        recovery,
        drills,
        tokens,
        webhooks,
        alerts,
        webhookGuard,
        signalAudit: new SignalAudit((row) => engine.audit(row), monotonicMs),
        links,
        metrics,
        scrape: () => scrape({ engine, book, evaluator, hub, store, health, changes, drills, metrics }),
        now,
        auditSignal,
        held,
        noteAccepted: (outcomes) => {
          accepted += outcomes;
        },
        leaseMs,
      },
      door,
      log,
    );
    if (reach) app.addHook("onSend", async () => reach("answer.before-send"));
    // Together: the listener closes only once the runtimes' sockets have gone and nobody waits for an answer.
    closers.unshift(() => {
      held.close();
      return Promise.all([app.close(), hub.close(DRAIN_DEADLINE_MS)]);
    });
    if (!engine.world.killSwitches.has(DEFAULT_KILL_SWITCH)) {
      const failSafe = { engage: true, afterMs: 0 };
      await engine.execute({ kind: "putKillSwitch", key: DEFAULT_KILL_SWITCH, failSafe }, SYSTEM);
    }
    await drills
      .endLost()
      .catch((error) => logUnlessTheDisk(log, error, "what an earlier drill left could not be ended"));
    const url = await listen(app, options.host ?? "127.0.0.1", options.port ?? 7780, door.isTls ? "https" : "http");
    if (!door.isTls && !isLoopback(options.host) && (options.trustedProxies ?? []).length === 0) {
      log.warn({ url }, "tokens and payloads cross the network in the clear: serve TLS, or put a proxy in front");
    }
    // The first token is made when the address is known to be ours: a failed start must not use up its one showing.
    const first = tokens.isEmpty()
      ? await tokens.create(
          { role: "admin", name: "first admin", aliases: [] },
          "system",
          new Date(now()).toISOString(),
        )
      : undefined;
    // What was durable before this start may be all the evidence that a stop needs.
    evaluator.markDirty(engine.world.aliases.keys());
    return { url, adminToken: first?.secret, close: once(closers) };
  } catch (error) {
    await once(closers)();
    throw error;
  }
}

/** Closes in order, each step even where the one before failed. */
function once(closers: readonly (() => unknown)[]): () => Promise<void> {
  let closing: Promise<void> | undefined;
  return () => {
    closing ??= (async () => {
      const failures: unknown[] = [];
      for (const close of closers) {
        try {
          await close();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures[0] !== undefined) throw failures[0];
    })();
    return closing;
  };
}
