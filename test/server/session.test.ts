/** One runtime's socket, where the server itself fails at what came over it. */
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
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
