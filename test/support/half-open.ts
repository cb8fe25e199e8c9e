/** Sockets as slow and hostile clients have them. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import type { TestServer } from "./server.ts";

/** A connection that sends nothing by itself, and keeps its side open whatever the server does. */
export async function halfOpen(server: TestServer, localAddress = "127.0.0.1"): Promise<Socket> {
  const { hostname, port } = new URL(server.url);
  const socket = connect({ host: hostname, port: Number(port), localAddress, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  // A reset is one of the ways to be closed.
  socket.on("error", () => undefined);
  socket.resume();
  await Promise.race([once(socket, "connect"), once(socket, "close")]);
  return socket;
}

export function isEnded(socket: Socket): boolean {
  return socket.readableEnded || socket.closed;
}
