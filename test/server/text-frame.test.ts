import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { textFrame, textOf } from "../../server/src/stream/text-frame.ts";

test("a shared frame reads as what was written, at every length that changes its header, between frames of ws", async () => {
  // RFC 6455, section 5.2: up to 125 bytes, up to 65 535, and more; and lengths are bytes, not characters.
  const texts = ["", "a".repeat(125), "a".repeat(126), "é".repeat(63), "a".repeat(65_535), "a".repeat(65_536), "🙂"];
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  onTestFinished(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on("connection", (socket, request) => {
    for (const text of texts) {
      request.socket.write(textFrame(text));
      socket.send(`after ${text.length}`);
    }
    socket.close();
  });
  await once(server, "listening");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const received: string[] = [];
  client.on("message", (data) => received.push(data.toString()));

  const [code] = await once(client, "close");

  expect(code).toBe(1005);
  expect(received).toEqual(texts.flatMap((text) => [text, `after ${text.length}`]));
  expect(texts.map((text) => textOf(textFrame(text)).toString())).toEqual(texts);
});
