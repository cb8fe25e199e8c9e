/** What one hostile runtime costs the others: its turn at most, and memory of a bounded size. */
import { EventEmitter } from "node:events";
import { Duplex, PassThrough } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import type { StoredToken } from "../../server/src/store/store.ts";
import { Session, type SessionHost } from "../../server/src/stream/session.ts";
import { textOf } from "../../server/src/stream/text-frame.ts";
import { takeTurns } from "../../server/src/stream/turns.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { SILENT, SUPPORT_AGENT, testServer } from "../support/server.ts";

const CHUNK = Buffer.alloc(64 * 1024);

test("a socket whose bytes take long is read on in the next turn, and not before", async () => {
  const { wire, read } = await busyReader(10);
  // As Node reads a socket: one chunk after the other, while the stream takes them.
  for (let n = 0; n < 5; n++) wire.push(CHUNK);
  expect([read(), wire.isPaused()]).toEqual([2, true]);
  await nextTurn();
  expect([read(), wire.isPaused()]).toEqual([4, true]);
  await nextTurn();
  expect([read(), wire.isPaused()]).toEqual([5, false]);
});

test("a socket whose bytes are read quickly is never held up", async () => {
  const { wire, read } = await busyReader(0);
  for (let n = 0; n < 5; n++) wire.push(CHUNK);
  expect([read(), wire.isPaused()]).toEqual([5, false]);
});

test("a socket of TLS takes turns however short its records are, and one of plain TCP with short chunks has no more to say", async () => {
  const record = CHUNK.subarray(0, 1024);
  const tls = await busyReader(10, { encrypted: true });
  const plain = await busyReader(10);
  for (let n = 0; n < 5; n++) for (const { wire } of [tls, plain]) wire.push(record);
  expect([tls.read(), tls.wire.isPaused()]).toEqual([2, true]);
  expect([plain.read(), plain.wire.isPaused()]).toEqual([5, false]);
});

/** Needs so long for each chunk. */
async function busyReader(chunkMs: number, marks: object = {}) {
  let nowMs = 0;
  let chunks = 0;
  const wire = Object.assign(new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }), marks);
  takeTurns(wire, () => nowMs);
  wire.on("data", () => {
    chunks += 1;
    nowMs += chunkMs;
  });
  // From the next turn on it flows, and hands over each chunk at once.
  await nextTurn();
  return { wire, read: () => chunks };
}

test("junk is rejected item by item, and the first 16 until it is durable say why", async () => {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const good = { assignedSeq: 1, alias: "support-agent", version: "support-agent@2.3.3", status: "success" };
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: good.alias, version: good.version, revision: 1_000, n: 2 }],
    // The last one names its run's assignment, so that the run has ended; the one before it is counted.
    items: [...Array(40).fill({}), { ...good, runId: "a" }, { ...good, runId: "b", quality: 7 }],
  });
  const { rejected = [] } = await runtime.next("outcomesAck");
  expect(rejected.map(({ index, code }) => [index, code])).toEqual(
    [...Array.from({ length: 40 }, (_, index) => index), 41].map((index) => [index, "outcome_invalid"]),
  );
  const isExplained = ({ message }: { message: string }) => message.startsWith("runId: ");
  expect(rejected.map(isExplained)).toEqual(rejected.map(({ index }) => index < 16));
  // Its counts are durable, so that it is told again.
  runtime.send({ type: "outcomes", seq: 2, assigned: [], items: [{}] });
  const next = await runtime.next("outcomesAck", ({ through }) => through === 2);
  expect(next.rejected?.map(isExplained)).toEqual([true]);
  await server.close();
  const database = new Database(`${server.dataDir}/flagback.db`);
  expect(database.prepare("SELECT assigned, settled FROM totals").all()).toEqual([{ assigned: 2, settled: 2 }]);
  database.close();
});

test("a runtime that never hears of its rejected items makes the server remember a thousand of them at most", () => {
  const socket = new EventEmitter();
  const wire = new PassThrough();
  const rejected = Array.from({ length: 500 }, (_, index) => ({ index, code: "outcome_invalid", message: "no" }));
  const host = {
    log: SILENT,
    monotonicMs: () => 0,
    engine: { history: { head: { revision: 1, mark: "m" }, epoch: "e" } },
    book: { belongsToOther: () => false },
    frames: { snapshot: () => Buffer.alloc(0) },
    outcomeFrames: { read: () => undefined },
    join: () => 0,
    countBatch: () => ({ kind: "counted", rejected }),
  };
  const session = new Session(
    host as never as SessionHost,
    socket as never as WebSocket,
    wire,
    { aliases: [] } as never as StoredToken,
    "2026-01-01T00:00:00.000Z",
  );
  const frames: Buffer[] = [];
  wire.write = ((frame: Buffer) => frames.push(frame) > 0) as typeof wire.write;
  const receive = (message: object) => socket.emit("message", Buffer.from(JSON.stringify(message)), false);
  receive({ type: "hello", instance: "a".repeat(32), sdk: "test" });
  for (let seq = 1; seq <= 10; seq++) receive({ type: "outcomes", seq, assigned: [], items: [] });
  session.acknowledge(10);
  const ack = JSON.parse(textOf(frames.at(-1) as Buffer).toString());
  expect(ack).toMatchObject({ type: "outcomesAck", through: 10 });
  expect(ack.rejected).toHaveLength(1_000);
  // What was told is forgotten, and there is room again.
  receive({ type: "outcomes", seq: 11, assigned: [], items: [] });
  session.acknowledge(11);
  expect(JSON.parse(textOf(frames.at(-1) as Buffer).toString()).rejected).toHaveLength(500);
});
