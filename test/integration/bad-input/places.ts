/**
 * Where a provider's url may lead instead of a flagback server. Everything is gone when the test ends.
 */
import { once } from "node:events";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { onTestFinished } from "vitest";
import { WebSocketServer } from "ws";
import { NetworkProxy } from "../../support/network-proxy.ts";

/** Port 1 of loopback, where nothing listens. */
export const NOWHERE = "http://127.0.0.1:1";

/** What a proxy, a captive portal or another web server says to everything. */
export function html(status: number): Promise<string> {
  const page = "<!doctype html><h1>Hello</h1>";
  const headers = { "content-type": "text/html", location: "/login" };
  return listening(createHttpServer((_, response) => response.writeHead(status, headers).end(page)));
}

export function noHttp(): Promise<string> {
  return listening(
    createTcpServer((socket) => socket.on("error", () => undefined).end("220 mail.example.com ready\r\n")),
  );
}

/** A WebSocket server that takes the upgrade with a subprotocol of its own, or with none. */
export function otherProtocol(protocol: string | false): Promise<string> {
  const server = createHttpServer();
  new WebSocketServer({ server, handleProtocols: () => protocol });
  return listening(server);
}

/** Listens on a free port of loopback until the test ends. */
export async function listening(server: Server | HttpServer): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    if ("closeAllConnections" in server) server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An address that can come to lead elsewhere, as a name or a proxy's configuration does. */
export async function front(url: string) {
  let target = url;
  const proxy = await NetworkProxy.start(() => target);
  onTestFinished(() => proxy.close());
  /** From the next connection on. */
  const leadTo = (next: string) => {
    target = next;
  };
  return { url: proxy.url, leadTo, attempts: () => proxy.accepted };
}
