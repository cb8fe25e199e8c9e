/**
 * A port for a server that goes away and comes back: the system gives it to nobody who asks for any port meanwhile.
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";

/** Ports right below those that the system chooses from. */
const PORTS = 8_000;
/** Below them lie those of well-known services. */
const LEAST_PORT = 10_000;
const TRIES = 50;

/** A free one on loopback; 0, which is any, where it is not known what the system chooses from. */
export async function quietPort(random: () => number): Promise<number> {
  const range = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8").catch(() => "");
  const firstChosen = Number.parseInt(range, 10);
  if (!(firstChosen >= LEAST_PORT + PORTS)) return 0;
  for (let tried = 0; tried < TRIES; tried++) {
    const port = firstChosen - 1 - Math.floor(random() * PORTS);
    if (await isFree(port)) return port;
  }
  return 0;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
