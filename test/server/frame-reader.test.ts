/** Frames read beside `ws`: the same messages, whatever comes and however it is cut. */
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex, Writable } from "node:stream";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import * as ws from "ws";
import { WebSocket, WebSocketServer } from "ws";
import { readFrames } from "../../server/src/stream/frame-reader.ts";

/** What `ws` reads frames with; it is exported, and its types leave it out. */
const { Receiver } = ws as unknown as { readonly Receiver: new (options: object) => Writable };

interface Frame {
  readonly first: number;
  readonly isMasked: boolean;
  readonly mask: Uint8Array;
  readonly payload: Uint8Array;
}

const FINAL = 0x80;
const opcode = fc.oneof(
  { weight: 20, arbitrary: fc.constant(FINAL | 1) },
  { weight: 4, arbitrary: fc.constantFrom(FINAL | 9, FINAL | 10) },
  // A first fragment, a middle one, a last one, binary, close, a reserved bit, an unknown kind, a ping in fragments.
  { weight: 1, arbitrary: fc.constantFrom(1, 0, FINAL, FINAL | 2, FINAL | 8, 0xc1, FINAL | 3, 9) },
);
/** Of a payload: some stand in a byte of the frame's head, some in two or eight more, and some are too long. */
const MAX_LENGTH = 70_000;
const length = fc.oneof(
  { weight: 20, arbitrary: fc.nat(40) },
  { weight: 4, arbitrary: fc.constantFrom(0, 1, 124, 125, 126, 127, 300) },
  { weight: 1, arbitrary: fc.constantFrom(65_535, 65_536, MAX_LENGTH, MAX_LENGTH + 1) },
);
const frame: fc.Arbitrary<Frame> = fc.record({
  first: opcode,
  isMasked: fc.integer({ min: 0, max: 30 }).map((n) => n > 0),
  mask: fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.constant(new Uint8Array(4))),
  payload: fc
    .tuple(length, fc.nat(255))
    .map(([n, seed]) => Uint8Array.from({ length: n }, (_, i) => (i * 31 + seed) % 128)),
});

function bytesOf({ first, isMasked, mask, payload }: Frame): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = (isMasked ? 0x80 : 0) | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  if (!isMasked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ (mask[i % 4] as number))]);
}

/** What `ws` reads of the chunks, alone or with the reader before it. */
async function eventsOf(chunks: readonly Buffer[], isBeside: boolean): Promise<unknown[]> {
  const events: unknown[] = [];
  const receiver = new Receiver({ isServer: true, maxPayload: MAX_LENGTH });
  for (const kind of ["message", "ping", "pong"] as const)
    receiver.on(kind, (data: Buffer, isBinary?: boolean) =>
      events.push([kind, data.toString("hex"), isBinary ?? false]),
    );
  receiver.on("conclude", (code: number) => events.push(["conclude", code]));
  receiver.on("error", (error: NodeJS.ErrnoException) => events.push(["error", error.code]));
  const wire = new EventEmitter() as Duplex;
  wire.on("data", function toReceiver(this: unknown, chunk: Buffer) {
    expect(this).toBe(wire);
    if (!receiver.destroyed && !receiver.writableEnded) receiver.write(chunk);
  });
  if (isBeside)
    readFrames(wire, MAX_LENGTH, (bytes, start, end) =>
      events.push(["message", bytes.toString("hex", start, end), false]),
    );
  // A copy of each, because both sides unmask in place.
  for (const chunk of chunks) wire.emit("data", Buffer.from(chunk));
  await new Promise((resolve) => setImmediate(resolve));
  return events;
}

test("whatever frames come, and wherever they are cut, the same messages are read as by ws alone", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 6 }), async (frames, cuts) => {
      const bytes = Buffer.concat(frames.map(bytesOf));
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
      const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)).filter((chunk) => chunk.length > 0);
      expect(await eventsOf(chunks, true)).toEqual(await eventsOf(chunks, false));
    }),
    { numRuns: 2_000 },
  );
});

test("one byte after the other is the same as all of them at once", async () => {
  const text = (n: number): Frame => ({
    first: FINAL | 1,
    isMasked: true,
    mask: Uint8Array.of(1, 2, 3, 4),
    payload: new Uint8Array(n).fill(97),
  });
  const bytes = Buffer.concat([text(3), text(200), { ...text(2), first: FINAL | 10 }, text(0)].map(bytesOf));
  const single = Array.from(bytes, (byte) => Buffer.of(byte));
  const events = await eventsOf(single, true);
  expect(events).toEqual(await eventsOf([bytes], false));
  expect(events).toHaveLength(4);
});

test("ws hands its socket's frames over, and reads again from the first that is not ours", async () => {
  const server = createServer();
  const webSockets = new WebSocketServer({ noServer: true });
  const read: string[] = [];
  const left: string[] = [];
  const closed = new Promise<number>((resolve) => {
    server.on("upgrade", (request, socket, head) => {
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on("message", (data) => left.push(String(data)));
        webSocket.on("close", resolve);
        readFrames(socket, MAX_LENGTH, (bytes, start, end) => read.push(bytes.toString("utf8", start, end)));
      });
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await once(client, "open");
  client.send("one");
  client.send("two");
  // More than a socket delivers at once, so `ws` puts it together; what follows is read beside it again.
  const large = "x".repeat(MAX_LENGTH);
  client.send(large);
  client.send("after");
  client.send(Buffer.from("three"));
  client.send("four");
  client.close(4000);
  expect(await closed).toBe(4000);
  expect(read).toEqual(["one", "two", "after"]);
  expect(left).toEqual([large, "three", "four"]);
  server.close();
});

test("over a real socket the server reads, answers and closes as ws alone does", async () => {
  const alone = await peer(false);
  const beside = await peer(true);
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 6 }), async (frames, cuts) => {
      // A close at the end, so that every conversation ends by itself.
      const bytes = Buffer.concat([...frames.map(bytesOf), bytesOf(CLOSE)]);
      const ends = [...cuts.map((cut) => cut % bytes.length), bytes.length].sort((a, b) => a - b);
      const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)).filter((chunk) => chunk.length > 0);
      expect(await beside(chunks)).toEqual(await alone(chunks));
    }),
    { numRuns: 300 },
  );
});

test("a socket that somebody else listens to as well is left alone", () => {
  const wire = new EventEmitter() as Duplex;
  const listeners = [() => undefined, () => undefined];
  for (const listener of listeners) wire.on("data", listener);
  readFrames(wire, MAX_LENGTH, () => undefined);
  expect(wire.listeners("data")).toEqual(listeners);
});

const CLOSE: Frame = {
  first: FINAL | 8,
  isMasked: true,
  mask: Uint8Array.of(9, 8, 7, 6),
  payload: Uint8Array.of(0x0f, 0xa0),
};
const HANDSHAKE = [
  "GET / HTTP/1.1",
  "Host: 127.0.0.1",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  `Sec-WebSocket-Key: ${"A".repeat(22)}==`,
  "",
  "",
].join("\r\n");

/** A server, and what talks to it: answers what the server was told by the chunks, and what it wrote to the socket. */
async function peer(isBeside: boolean) {
  const server = createServer();
  const webSockets = new WebSocketServer({ noServer: true, maxPayload: MAX_LENGTH });
  let told: unknown[] = [];
  let isOver: Promise<unknown>;
  server.on("upgrade", (request, socket, head) => {
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const events: unknown[] = [];
      told = events;
      for (const kind of ["message", "ping", "pong"] as const)
        webSocket.on(kind, (data: Buffer, isBinary?: boolean) =>
          events.push([kind, data.toString("hex"), isBinary ?? false]),
        );
      webSocket.on("error", (error: NodeJS.ErrnoException) => events.push(["error", error.code]));
      isOver = new Promise((resolve) => {
        webSocket.on("close", (code, reason) => resolve(events.push(["close", code, String(reason)])));
      });
      if (isBeside)
        readFrames(socket, MAX_LENGTH, (bytes, start, end) =>
          events.push(["message", bytes.toString("hex", start, end), false]),
        );
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  return async (chunks: readonly Buffer[]) => {
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    socket.setNoDelay(true);
    socket.write(HANDSHAKE);
    const written: Buffer[] = [];
    await once(socket, "data");
    socket.on("data", (bytes) => written.push(bytes));
    // The server may have hung up already over what it was sent.
    socket.on("error", () => {});
    const ended = new Promise((resolve) => socket.once("close", resolve));
    for (const chunk of chunks) {
      socket.write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await isOver;
    socket.end();
    await ended;
    return { told, written: Buffer.concat(written).toString("hex") };
  };
}
