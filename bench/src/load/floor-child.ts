/**
 * The floors. Of push and flip: the same bytes to the same number of sockets by a raw TCP write loop and by a plain `ws`
 * broadcast; and a POST handler with one durable SQLite commit before that broadcast. Of ingest: `ws` and `JSON.parse`,
 * with an acknowledgement of each batch or one of many, and nothing kept.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { fastify } from "fastify";
import { type WebSocket, WebSocketServer } from "ws";
import { sharedNowMs } from "./clock.ts";
import { serve } from "./peer.ts";
import { askForUsage, cpuUsSince } from "./usage.ts";

const folder = mkdtempSync(join(tmpdir(), "flagback-floor-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const tcpSockets = new Set<Socket>();
const webSockets = new Set<WebSocket>();
let payload = "";
let revision = 0;
/** How batches of outcomes are acknowledged; null where sockets are only written to. */
let acknowledging: "each" | "cumulative" | null = null;
let counted = 0;
/** CPU from the commit to the end of the turn in which every socket was written to, in microseconds. */
let broadcasts: number[] = [];

/** As often as a durable server acknowledges at the soonest. */
const CUMULATIVE_MS = 5;

const skills = {
  async start() {
    const tcp = createServer({ noDelay: true }, (socket) => {
      tcpSockets.add(socket);
      socket.on("close", () => tcpSockets.delete(socket));
      socket.on("error", () => undefined);
      socket.resume();
    });
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
    const app = fastify();
    const database = new Database(join(folder, "floor.db"));
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.exec("CREATE TABLE switch (key TEXT PRIMARY KEY, state TEXT, revision INTEGER)");
    database.exec("CREATE TABLE audit (id INTEGER PRIMARY KEY, at TEXT, state TEXT)");
    const put = database.prepare("INSERT OR REPLACE INTO switch VALUES ('writes_disabled', ?, ?)");
    const audit = database.prepare("INSERT INTO audit (at, state) VALUES (?, ?)");
    const commit = database.transaction((state: string) => {
      put.run(state, revision + 1);
      audit.run(new Date().toISOString(), state);
    });
    app.post<{ Params: { by: "tcp" | "ws" } }>("/flip/:by", (request) => {
      commit(JSON.stringify(request.body));
      const before = process.cpuUsage();
      if (request.params.by === "ws") broadcastWs();
      else broadcastTcp();
      // With the answer, as it is for the server.
      setImmediate(() => broadcasts.push(cpuUsSince(before)));
      return { revision };
    });
    const webSocketServer = new WebSocketServer({ server: app.server, perMessageDeflate: false });
    webSocketServer.on("connection", (socket) => {
      webSockets.add(socket);
      if (acknowledging !== null) takeOutcomes(socket, acknowledging);
      socket.on("close", () => webSockets.delete(socket));
      socket.on("error", () => undefined);
    });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    const address = tcp.address();
    return { url, wsPort: Number(new URL(url).port), tcpPort: typeof address === "object" ? (address?.port ?? 0) : 0 };
  },
  /** What is sent from now on: a delta of the real server, of which each broadcast changes only the revision. */
  send({ text, from }: { text: string; from: number }): void {
    payload = text;
    revision = from;
  },
  /** Sockets that come from now on send batches of outcomes. */
  acknowledge(how: "each" | "cumulative" | null): void {
    acknowledging = how;
    counted = 0;
  },
  counted: () => counted,
  sockets: () => ({ tcp: tcpSockets.size, ws: webSockets.size }),
  broadcastTcp() {
    const startMs = sharedNowMs();
    broadcastTcp();
    return { startMs, revision };
  },
  broadcastWs() {
    const startMs = sharedNowMs();
    broadcastWs();
    return { startMs, revision };
  },
  /** CPU of the broadcasts after a POST since the last call, in microseconds. */
  takeBroadcasts(): number[] {
    const taken = broadcasts;
    broadcasts = [];
    return taken;
  },
  usage: askForUsage,
};
export type FloorSkills = typeof skills;

function takeOutcomes(socket: WebSocket, how: "each" | "cumulative"): void {
  let through = 0;
  let acknowledged = 0;
  const acknowledge = () => {
    if (through === acknowledged) return;
    acknowledged = through;
    socket.send(`{"type":"outcomesAck","through":${through}}`);
  };
  socket.on("message", (data) => {
    const frame = JSON.parse(data.toString()) as { type: string; seq: number; items: unknown[] };
    if (frame.type === "hello") socket.send('{"type":"snapshot","revision":0}');
    if (frame.type !== "outcomes") return;
    counted += frame.items.length;
    through = frame.seq;
    if (how === "each") acknowledge();
  });
  if (how === "each") return;
  const timer = setInterval(acknowledge, CUMULATIVE_MS);
  socket.on("close", () => clearInterval(timer));
}

function broadcastTcp(): void {
  revision += 1;
  const bytes = frameOf(messageOf(revision));
  for (const socket of tcpSockets) socket.write(bytes);
}

function broadcastWs(): void {
  revision += 1;
  const text = messageOf(revision);
  for (const socket of webSockets) socket.send(text);
}

function messageOf(at: number): string {
  return payload.replace(/"revision":\d+/, `"revision":${at}`);
}

/** An unmasked text frame (RFC 6455, section 5.2). */
function frameOf(text: string): Buffer {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.alloc(2) : Buffer.alloc(4);
  head[0] = 0x81;
  if (body.length < 126) head[1] = body.length;
  else {
    head[1] = 126;
    head.writeUInt16BE(body.length, 2);
  }
  return Buffer.concat([head, body]);
}

serve(skills);
