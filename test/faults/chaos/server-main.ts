/**
 * The real server in a process of its own, with a short lease and a wall clock that its parent can set.
 */
import { FlagbackError } from "@flagback/schemas";
import { startServer } from "flagback";
import { HEARTBEAT_MS, LEASE_MS } from "./cast.ts";

/** What the parent may ask for. */
export interface ServerCommand {
  readonly kind: "jumpClock";
  readonly ms: number;
}

/** Said once, when it has started or will not. */
export type ServerWord =
  | { readonly kind: "listens"; readonly url: string; readonly adminToken?: string }
  | { readonly kind: "refuses"; readonly code: string };

let jumpedMs = 0;
const trueNow = Date.now;
// Before the server looks at it for the first time: it keeps the function.
Date.now = () => trueNow() + jumpedMs;
process.on("message", ({ ms }: ServerCommand) => {
  jumpedMs += ms;
});
// Nobody is left to serve.
process.on("disconnect", () => process.exit(1));

try {
  const { url, adminToken } = await startServer({
    dataDir: process.env.CHAOS_DATA_DIR ?? "",
    port: Number(process.env.CHAOS_PORT),
    leaseMs: LEASE_MS,
    heartbeatMs: HEARTBEAT_MS,
    webhookAllow: ["127.0.0.1"],
    logLevel: "error",
  });
  say({ kind: "listens", url, adminToken });
} catch (error) {
  say({ kind: "refuses", code: error instanceof FlagbackError ? error.code : String(error) });
  process.disconnect();
}

function say(word: ServerWord): void {
  process.send?.(word);
}
