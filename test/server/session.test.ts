/** One runtime's socket, where the server itself fails at what came over it. */
import { EventEmitter } from "node:events";
import { Duplex, PassThrough } from "node:stream";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import type { StoredToken } from "../../server/src/store/store.ts";
import { Session, type SessionHost } from "../../server/src/stream/session.ts";
import { SILENT } from "../support/server.ts";

test("a frame that the server fails at closes its socket with a code, so that the runtime can tell which batch it was", () => {
  const closes: unknown[] = [];
  const socket = Object.assign(new EventEmitter(), {
    close: (code: number) => closes.push(code),
    terminate: () => closes.push("terminated"),
  });
  const host = {
    log: SILENT,
    get engine(): SessionHost["engine"] {
      throw new RangeError("a run too many");
    },
  };
  const wire = new PassThrough();
  new Session(host as SessionHost, socket as never as WebSocket, wire, {} as StoredToken, "2026-01-01T00:00:00.000Z");
  const hello = { type: "hello", instance: "a".repeat(32), sdk: "test" };
  socket.emit("message", Buffer.from(JSON.stringify(hello)), false);
  expect(closes).toEqual([1011]);
});

test("text that is not UTF-8 closes its socket with the code that RFC 6455 has for it", () => {
  const closes: unknown[] = [];
  const socket = Object.assign(new EventEmitter(), {
    close: (code: number) => closes.push(code),
    terminate: () => closes.push("terminated"),
  });
  const host = { log: SILENT } as SessionHost;
  new Session(host, socket as never as WebSocket, new PassThrough(), {} as StoredToken, "2026-01-01T00:00:00.000Z");
  socket.emit("message", Buffer.from('{"type":"hello","sdk":"\xff"}', "latin1"), false);
  expect(closes).toEqual([1007]);
});

test("a client that does not read is sent nothing more, and closed instead of growing our memory", () => {
  const closes: unknown[] = [];
  const dropped: unknown[] = [];
  const socket = Object.assign(new EventEmitter(), { close: (code: number) => closes.push(code), terminate: () => {} });
  const engine = { history: { head: { revision: 1, mark: "" } } };
  const host = { log: SILENT, engine, dropped: (reason: string) => dropped.push(reason) };
  // Takes a write and never says that it is out.
  const wire = new Duplex({ read: () => undefined, write: () => undefined });
  const session = new Session(
    host as never as SessionHost,
    socket as never as WebSocket,
    wire,
    {} as StoredToken,
    "2026-01-01T00:00:00.000Z",
  );
  const lease = { type: "lease", id: 1, revision: 1 } as const;
  expect(session.send(lease)).toBe(true);
  wire.write(Buffer.alloc(1024 * 1024));
  const { writableLength } = wire;
  expect(session.send(lease)).toBe(false);
  // Whoever reads slowly has a heartbeat's time to show it.
  expect([session.heartbeat(), closes]).toEqual(["alive", []]);
  session.heartbeat();
  expect([closes, dropped, wire.writableLength]).toEqual([[4408], ["slow_reader"], writableLength]);
});
