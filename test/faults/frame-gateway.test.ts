import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { SUBPROTOCOL } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { FrameGateway } from "../support/frame-gateway.ts";
import { eventually } from "../support/server.ts";

test("a batch that is held back follows the next one of its connection, and is never sent on another", async () => {
  const { gateway, connect, got } = await relayed();
  const holding = { times: 0 };
  const hold = () =>
    gateway.reorderBatches(
      (text) => text.startsWith("batch"),
      () => void holding.times++,
    );

  hold();
  const first = await connect();
  for (const text of ["batch 1", "applied", "batch 2", "batch 3"]) first.send(text);
  await eventually("they came", () => got.length === 4);
  expect(got).toEqual(["applied", "batch 2", "batch 1", "batch 3"]);

  hold();
  first.send("batch 4");
  await eventually("it is held back", () => holding.times === 2);
  first.terminate();
  const second = await connect();
  for (const text of ["batch A", "batch B"]) second.send(text);
  await eventually("they came", () => got.includes("batch B"));
  expect(got.slice(4)).toEqual(["batch A", "batch B"]);
});

/** A gateway before a server that keeps what it gets. */
async function relayed() {
  const got: string[] = [];
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  server.on("connection", (socket) => socket.on("message", (data) => got.push(data.toString())));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const nothing = () => undefined;
  const events = { opened: nothing, sent: nothing, heard: nothing, asked: nothing, answered: nothing };
  const gateway = await FrameGateway.start(() => ({ url, token: "t" }), events);
  onTestFinished(async () => {
    await gateway.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const connect = async () => {
    const socket = new WebSocket(gateway.url.replace(/^http/, "ws"), SUBPROTOCOL);
    socket.on("error", nothing);
    await once(socket, "open");
    return socket;
  };
  return { gateway, connect, got };
}
