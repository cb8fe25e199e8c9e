/**
 * The real server in a process of its own, with a short lease and a wall clock that its parent can set.
 */
import { startServer } from "flagback";
import { HEARTBEAT_MS, LEASE_MS } from "./cast.ts";

/** What the parent may ask for. */
export interface ServerCommand {
  readonly kind: "jumpClock";
  readonly ms: number;
}

let jumpedMs = 0;
const trueNow = Date.now;
// Before the server looks at it for the first time: it keeps the function.
Date.now = () => trueNow() + jumpedMs;
process.on("message", ({ ms }: ServerCommand) => {
  jumpedMs += ms;
});
// Nobody is left to serve.
process.on("disconnect", () => process.exit(1));

const { url, adminToken } = await startServer({
  dataDir: process.env.CHAOS_DATA_DIR ?? "",
  port: Number(process.env.CHAOS_PORT),
  leaseMs: LEASE_MS,
  heartbeatMs: HEARTBEAT_MS,
  webhookAllow: ["127.0.0.1"],
  logLevel: "error",
});
process.send?.({ url, adminToken });
