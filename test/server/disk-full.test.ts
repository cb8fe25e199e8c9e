/**
 * A server whose disk refuses: changes fail cleanly, counts wait unacknowledged, what is held is served on, and it heals by
 * itself.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { DiskHealth } from "../../server/src/store/disk-health.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { ALIAS, CANDIDATE, RolloutView, type Standing, startRollout } from "../support/rollout.ts";
import { eventually, SILENT, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

const CAN_MOUNT = process.platform === "linux" && process.getuid?.() === 0 && mounts();

const CANDIDATE_RUN = { assignedSeq: 1, alias: ALIAS, version: CANDIDATE };

afterEach(() => {
  delete process.env.FLAGBACK_FAILPOINT;
});

test.each(["disk-full *.before-commit", "io-error *.after-begin", "io-error *.before-begin"])(
  "while every write meets %s, nothing is acknowledged and everything held is served; then all of it counts once",
  async (failpoint) => {
    const broken = join(await testFolder(), "broken");
    process.env.FLAGBACK_FAILPOINT = `${failpoint} ${broken}`;
    const server = await testServer();
    await servesThroughAnOutage(
      server,
      () => writeFile(broken, ""),
      () => rm(broken),
    );
  },
);

test.skipIf(!CAN_MOUNT)("the same on a disk that is really full (needs root, for a small tmpfs)", async () => {
  const disk = await testFolder();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]);
  onTestFinished(() => void execFileSync("umount", [disk]));
  const server = await testServer({ dataDir: join(disk, "data") });
  // Before the folder goes.
  onTestFinished(() => server.close());
  const filler = join(disk, "filler");
  await servesThroughAnOutage(
    server,
    () => fillUp(filler),
    () => rm(filler),
  );
});

test("outcomes by HTTP are turned away before they are counted, and count once when the disk is back", async () => {
  const broken = join(await testFolder(), "broken");
  process.env.FLAGBACK_FAILPOINT = `io-error *.before-commit ${broken}`;
  const server = await testServer();
  const token = await exposing(server);
  const report = (run: number) =>
    server.call(
      "POST",
      "/v1/outcomes",
      { outcomes: [{ runId: `r${run}`, alias: "support-agent", version: "support-agent@2.3.3", status: "success" }] },
      { token },
    );
  await writeFile(broken, "");
  const refusals = [];
  for (let run = 0; run < 5; run++) refusals.push(await report(run));
  expect(refusals.map(({ status, body }) => [status, body.code])).toEqual(Array(5).fill([503, "database_unavailable"]));
  await rm(broken);
  await eventually("it is ready again", async () => (await server.call("GET", "/readyz")).status === 200);
  for (let run = 0; run < 5; run++) await report(run);
  expect(await settled(server)).toBe(5);
});

test("a check and a late outcome that the disk refused count once, when it is back, though they are sent again", async () => {
  const broken = join(await testFolder(), "broken");
  process.env.FLAGBACK_FAILPOINT = `io-error *.before-commit ${broken}`;
  const clock = new MovedClock();
  const server = await testServer({ clock });
  const token = await exposing(server);
  const startedAt = new Date(clock.nowMs()).toISOString();
  // Beyond any time that its outcome is waited for.
  clock.passSeconds(86_400);
  const run = { alias: ALIAS, version: CANDIDATE, status: "failure", startedAt };
  const outcomes = [
    { ...run, runId: "late" },
    { ...run, runId: "check", source: "synthetic" },
  ];
  const report = () => server.call("POST", "/v1/outcomes", { outcomes }, { token });
  const feedback = async (from: TestServer) =>
    (await from.call<{ feedback: { runId: string }[] }>("GET", "/v1/feedback")).body.feedback.map(({ runId }) => runId);
  const checks = async (from: TestServer) =>
    (await from.call<{ synthetic: object[] }>("GET", `/v1/aliases/${ALIAS}/rollout`)).body.synthetic;
  await writeFile(broken, "");
  expect(await report()).toMatchObject({ status: 503, body: { code: "database_unavailable" } });
  expect(await feedback(server)).toEqual([]);
  await rm(broken);
  await eventually("it is ready again", async () => (await server.call("GET", "/readyz")).status === 200);
  expect(await report()).toMatchObject({ status: 200, body: { accepted: 0, duplicates: 2, rejected: [] } });
  await eventually("the late one is stored", async () => (await feedback(server)).length > 0);
  const restarted = await server.restart();
  expect(await feedback(restarted)).toEqual(["late"]);
  expect(await checks(restarted)).toMatchObject([{ version: CANDIDATE, checks: 1, failures: 1 }]);
});

test("a brain that the disk keeps from acting adds nothing to the log, and acts when the disk is back", async () => {
  const broken = join(await testFolder(), "broken");
  process.env.FLAGBACK_FAILPOINT = `disk-full *.before-commit ${broken}`;
  const lines: string[] = [];
  const log = pino({ level: "error" }, { write: (line) => void lines.push(JSON.parse(line).msg) });
  const server = await testServer({ log });
  await startRollout(server.call);
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  await writeFile(broken, "");
  const items = Array.from({ length: 20 }, (_, i) => ({ ...CANDIDATE_RUN, runId: `r${i}`, status: "failure" }));
  const assigned = [{ alias: ALIAS, version: CANDIDATE, revision: 1_000, n: 20 }];
  runtime.send({ type: "outcomes", seq: 1, overdue: [], assigned, items });
  await eventually("the brain has judged them", async () => {
    const { body } = await server.call<Standing>("GET", `/v1/aliases/${ALIAS}/rollout`);
    return body.verdict === "stop";
  });
  // It wanted to act before this is answered, because changes take turns.
  expect((await server.call("POST", "/v1/stop", { reason: "the disk is full" })).status).toBe(503);
  expect(lines).toEqual([expect.stringContaining("the database can't be written")]);
  await rm(broken);
  await new RolloutView(server.call).rolledBack();
});

test("asking whether the server is ready writes nothing where somebody wrote lately, and little where nobody did", async () => {
  const probes: number[] = [];
  let nowMs = 0;
  let isBroken = false;
  const health = new DiskHealth({
    probe: async (bytes) => {
      probes.push(bytes);
      if (isBroken) throw new Error("disk full");
    },
    monotonicMs: () => nowMs,
    log: SILENT,
  });
  for (; nowMs < 60_000; nowMs += 100) {
    health.written();
    expect(await health.check()).toBeUndefined();
  }
  expect(probes).toEqual([]);
  // A minute in which nobody writes and ten ask in each second: one probe in five seconds, from 64.9 s to 119.9 s.
  for (; nowMs < 120_000; nowMs += 100) await health.check();
  expect(probes.length).toBe(12);
  // While it is broken, one each second, large enough that the next change fits when it goes well.
  isBroken = true;
  health.failed(new Error("disk full"));
  probes.length = 0;
  for (; nowMs < 130_000; nowMs += 100) expect(await health.check()).toBe("disk full");
  expect(probes.length).toBe(9);
  expect(Math.min(...probes)).toBeGreaterThan(100_000);
  isBroken = false;
  nowMs += 1_000;
  expect(await health.check()).toBeUndefined();
});

test("a small write that fits does not make a full disk well", async () => {
  const health = new DiskHealth({ probe: async () => undefined, monotonicMs: () => 0, log: SILENT });
  health.failed(new Error("database or disk is full"));
  health.written();
  expect(health.problem).toBe("database or disk is full");
});

test("a failing disk is logged once for each outage, and so is its end", async () => {
  const lines: string[] = [];
  let nowMs = 0;
  const health = new DiskHealth({
    probe: async () => undefined,
    monotonicMs: () => nowMs,
    log: { error: () => void lines.push("broken"), info: () => void lines.push("well") },
  });
  for (let outage = 0; outage < 2; outage++) {
    for (let failure = 0; failure < 3; failure++) health.failed(new Error("no"));
    nowMs += 10_000;
    await health.check();
  }
  expect(lines).toEqual(["broken", "well", "broken", "well"]);
});

async function servesThroughAnOutage(
  server: TestServer,
  breakDisk: () => Promise<unknown>,
  mendDisk: () => Promise<unknown>,
): Promise<void> {
  const token = await exposing(server);
  const runtime = await RawRuntime.connect(server.url, token);
  const { revision } = await runtime.next("snapshot");
  runtime.send({ type: "applied", revision, appliedAfterMs: 1 });
  runtime.send(batch(1));
  await runtime.next("outcomesAck", ({ through }) => through === 1);
  expect((await server.call("GET", "/readyz")).status).toBe(200);

  await breakDisk();
  const before = await server.call("GET", "/v1/kill-switches");
  // The journal may have room left for some.
  const accepted = await eventually("a change is refused", async () => {
    const { status, body } = await server.call("POST", "/v1/kill-switches/writes_disabled/engage", {
      scope: `tenant=${randomBytes(8).toString("hex")}`,
      reason: "x".repeat(4_000),
    });
    if (status === 200) return false;
    expect([status, body.code]).toEqual([503, "database_unavailable"]);
    return server.call<{ killSwitches: { engaged: { reason: string }[] }[] }>("GET", "/v1/kill-switches");
  });
  // What the refused change left of the journal is used up by smaller ones, until counts don't fit either.
  await eventually("the smallest write is refused", async () => {
    return (await server.call("POST", "/v1/tokens", { role: "viewer", name: "small" })).status === 503;
  });
  const red = await server.call("GET", "/readyz");
  expect(red).toMatchObject({ status: 503, body: { status: "not ready" } });
  expect(red.body.reason).toMatch(/full|I\/O/);
  expect((await server.call("GET", "/metrics")).body).toContain("flagback_database_writable 0");
  expect((await server.call("GET", "/healthz")).status).toBe(200);
  // What is held is served, to who is there and to who comes; a lease names the last committed revision.
  const head = revisionOf(accepted.body) + revision;
  runtime.send({ type: "lease", id: 7 });
  expect(await runtime.next("lease")).toMatchObject({ id: 7, revision: head });
  const other = await RawRuntime.connect(server.url, token);
  expect(await other.next("snapshot")).toMatchObject({ revision: head });
  expect(accepted.body.killSwitches).toHaveLength((before.body as { killSwitches: unknown[] }).killSwitches.length);
  // Counts wait, unacknowledged, also when the runtime comes again with the same.
  runtime.send(batch(2));
  runtime.send({ type: "lease", id: 8 });
  await runtime.next("lease", ({ id }) => id === 8);
  expect(await settled(server)).toBe(4);
  runtime.close();
  await runtime.closeCode();
  const again = await RawRuntime.connect(server.url, token, { instance: runtime.instance });
  expect((await again.next("hello")).outcomesThrough).toBe(1);
  again.send(batch(2));
  again.send({ type: "lease", id: 9 });
  await again.next("lease");
  expect(again.received.filter(({ type }) => type === "outcomesAck")).toEqual([]);

  await mendDisk();
  await again.next("outcomesAck", ({ through }) => through === 2);
  await eventually("it is ready again", async () => (await server.call("GET", "/readyz")).status === 200);
  expect(await settled(server)).toBe(4);
  expect((await server.call("POST", "/v1/stop", { reason: "it works again" })).status).toBe(200);
  const restarted = await server.restart();
  expect(await settled(restarted)).toBe(4);

  /** Revisions that the kill switch got while the journal had room. */
  function revisionOf(body: { killSwitches: { engaged: unknown[] }[] }): number {
    return body.killSwitches.reduce((sum, { engaged }) => sum + engaged.length, 0);
  }
}

function batch(seq: number) {
  const item = (index: number) => ({
    assignedSeq: seq,
    runId: `r${seq}-${index}`,
    alias: "support-agent",
    version: "support-agent@2.3.3",
    status: "success",
  });
  const assigned = [{ alias: "support-agent", version: "support-agent@2.3.3", revision: 1_000, n: 2 }];
  return { type: "outcomes", seq, overdue: [], assigned, items: [item(0), item(1)] };
}

/** Applies the alias, starts its rollout, and answers a runtime's token. */
async function exposing(server: TestServer): Promise<string> {
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  return server.token("runtime");
}

/** Outcomes counted of the stable version. */
async function settled(server: TestServer): Promise<number> {
  const { body } = await server.call<{ traffic: { version: string; settled: number }[] }>(
    "GET",
    "/v1/aliases/support-agent/rollout",
  );
  return body.traffic.reduce((sum, each) => sum + each.settled, 0);
}

async function fillUp(file: string): Promise<void> {
  const { open } = await import("node:fs/promises");
  const filler = await open(file, "w");
  for (let bytes = 65_536; bytes > 0; ) {
    const wrote = await filler.write(Buffer.alloc(bytes)).catch(() => ({ bytesWritten: 0 }));
    if (wrote.bytesWritten < bytes) bytes = Math.floor(bytes / 2);
  }
  await filler.close();
}

function mounts(): boolean {
  try {
    execFileSync("unshare", ["--mount", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
