/** The broken network itself: what each fault does to the bytes and to the ends of a connection. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { NetworkProxy } from "../support/network-proxy.ts";
import { eventually } from "../support/server.ts";

/** A peer at one end: what it received, how it ended. */
class Peer {
  readonly socket: Socket;
  received = "";
  ended = false;
  failed: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.received += chunk.toString();
    });
    socket.on("end", () => {
      this.ended = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.failed = error.code;
    });
  }

  /** Waits until so much was received, and answers all of it. */
  async reads(text: string): Promise<void> {
    await eventually(`"${text}" arrives, not only "${this.received}"`, () => this.received === text);
  }
}

let proxy: NetworkProxy;
let accepted: Peer[];

beforeEach(async () => {
  accepted = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(new Peer(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await NetworkProxy.start(() => `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(async () => {
    await proxy.close();
    for (const { socket } of accepted) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});

/** A client with its connection through the proxy, and the server's end of it. */
async function pair(): Promise<{ client: Peer; server: Peer }> {
  const before = accepted.length;
  const client = dial();
  return { client, server: await eventually("the server accepts", () => accepted[before]) };
}

function dial(): Peer {
  const socket = connect({ port: Number(new URL(proxy.url).port), host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  return new Peer(socket);
}

test("bytes pass both ways, and an end on one side ends the other", async () => {
  const { client, server } = await pair();
  client.socket.write("ask");
  await server.reads("ask");
  server.socket.write("answer");
  await client.reads("answer");
  client.socket.end();
  await eventually("the server sees the end", () => server.ended);
  server.socket.end();
  await eventually("nothing is left", () => proxy.connections === 0);
});

test("a partition holds bytes and closes nothing; healed, they arrive in order", async () => {
  const { client, server } = await pair();
  client.socket.write("1");
  await server.reads("1");
  proxy.partition();
  client.socket.write("2");
  server.socket.write("a");
  // A way around the partition shows that time has passed and bytes would have arrived.
  const other = await roundTripElsewhere();
  expect(other).toBe("done");
  expect([server.received, client.received]).toEqual(["1", ""]);
  client.socket.write("3");
  proxy.heal();
  await server.reads("123");
  await client.reads("a");
  expect([client.ended, server.ended]).toEqual([false, false]);
});

test("a partition in one direction leaves the other open", async () => {
  const { client, server } = await pair();
  proxy.partition("toClient");
  client.socket.write("ask");
  await server.reads("ask");
  server.socket.write("answer");
  client.socket.write(" again");
  await server.reads("ask again");
  expect(client.received).toBe("");
  proxy.heal();
  await client.reads("answer");
});

test("a partition that loses bytes leaves that connection silent for ever, and lets the next one pass", async () => {
  const { client, server } = await pair();
  proxy.partition("toServer", "lose");
  client.socket.write("lost");
  server.socket.write("answer");
  await client.reads("answer");
  proxy.heal();
  client.socket.write("also lost");
  const next = await pair();
  next.client.socket.write("new");
  await next.server.reads("new");
  expect(server.received).toBe("");
  expect(client.ended).toBe(false);
  client.socket.destroy();
  server.socket.destroy();
  next.client.socket.destroy();
  next.server.socket.destroy();
  await eventually("nothing is left", () => proxy.connections === 0);
});

test("a connection that is made during a partition is accepted and hears nothing until it heals", async () => {
  proxy.partition();
  const { client, server } = await pair();
  client.socket.write("early");
  await roundTripElsewhere();
  expect(server.received).toBe("");
  proxy.heal();
  await server.reads("early");
});

test("not even a dead peer is noticed across a partition", async () => {
  const { client, server } = await pair();
  proxy.partition();
  client.socket.resetAndDestroy();
  await roundTripElsewhere();
  expect([server.ended, server.failed]).toEqual([false, undefined]);
  proxy.heal();
  await eventually("the reset arrives", () => server.failed === "ECONNRESET");
});

test("delayed bytes arrive in order", async () => {
  const { client, server } = await pair();
  proxy.delay(30);
  for (const text of ["a", "b", "c"]) client.socket.write(text);
  await server.reads("abc");
});

test("a reset reaches both ends as such, and a close as an end", async () => {
  const first = await pair();
  proxy.cut("reset");
  await eventually("both fail", () => first.client.failed === "ECONNRESET" && first.server.failed === "ECONNRESET");
  const second = await pair();
  proxy.cut("close");
  await eventually("both end", () => second.client.ended && second.server.ended);
  expect([second.client.failed, second.server.failed]).toEqual([undefined, undefined]);
  await eventually("nothing is left", () => proxy.connections === 0);
});

test("a connection that can't end because its peer reads nothing waits for that once, however often it is cut", async () => {
  const { client, server } = await pair();
  client.socket.pause();
  const warned: string[] = [];
  const warn = ({ name }: Error) => void warned.push(name);
  process.on("warning", warn);
  onTestFinished(() => void process.off("warning", warn));
  // More than the network takes in.
  server.socket.write(Buffer.alloc(32 * 1024 * 1024));
  await eventually("the network is full", () => server.socket.writableLength > 0 && client.socket.readableLength > 0);
  for (let n = 0; n < 20; n++) proxy.cut("close");
  await new Promise((resolve) => setImmediate(resolve));
  expect(warned).toEqual([]);
});

test("a half close ends one direction and lets the other go on", async () => {
  const { client, server } = await pair();
  proxy.cut("halfClose", "toClient");
  await eventually("the client sees the end", () => client.ended);
  client.socket.write("still here");
  await server.reads("still here");
});

test("a cut in mid-frame lets exactly so many bytes pass", async () => {
  const { client, server } = await pair();
  proxy.cutAfter(3);
  server.socket.write("fr");
  await client.reads("fr");
  server.socket.write("ame");
  await eventually("the client sees the end", () => client.ended);
  expect(client.received).toBe("fra");
});

test("a server that is not there resets the client", async () => {
  const nowhere = await NetworkProxy.start(() => "http://127.0.0.1:1");
  onTestFinished(() => nowhere.close());
  const socket = connect({ port: Number(new URL(nowhere.url).port), host: "127.0.0.1" });
  onTestFinished(() => void socket.destroy());
  const client = new Peer(socket);
  await eventually("the client fails", () => client.failed === "ECONNRESET");
});

/** Bytes there and back over another proxy: whatever could pass the first one meanwhile has passed it. */
async function roundTripElsewhere(): Promise<string> {
  const echo = createServer((socket) => socket.pipe(socket));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  const way = await NetworkProxy.start(() => `http://127.0.0.1:${(echo.address() as AddressInfo).port}`);
  const socket = connect({ port: Number(new URL(way.url).port), host: "127.0.0.1" });
  const peer = new Peer(socket);
  socket.write("done");
  await peer.reads("done");
  socket.destroy();
  await way.close();
  await new Promise((resolve) => echo.close(resolve));
  return peer.received;
}
