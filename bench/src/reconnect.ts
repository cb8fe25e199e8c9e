/**
 * From a server's return to the provider being READY again: the server is away for two seconds, by turns stopped in order and
 * killed, and comes back on its port. An ERROR event, or a STALE one more than each outage explains, is a failure.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FlagbackProvider } from "@flagback/provider";
import { OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import { sharedNowMs } from "./load/clock.ts";
import { Peer } from "./load/peer.ts";
import type { ServerSkills } from "./load/server-child.ts";
import { spreadOf } from "./load/statistics.ts";
import type { Benchmark, Options, Report } from "./report.ts";

const OUTAGES = 20;
const QUICK_OUTAGES = 4;
const DOWN_MS = 2_000;
const MAX_MEDIAN_MS = 1_000;
/** How long the benchmark waits for READY before it gives up. */
const PATIENCE_MS = 60_000;

export const reconnect: Benchmark = { summary: "a provider's way back to READY after the server's return", run };

async function run({ quick }: Options): Promise<Report> {
  const dataDir = mkdtempSync(join(tmpdir(), "flagback-bench-"));
  let server = await Peer.start<ServerSkills>("./server-child.ts");
  const { url, port, adminToken } = await server.ask("start", { dataDir });
  const provider = new FlagbackProvider({ url, token: await runtimeToken(url, adminToken), logger: SILENT });
  const seen = { stale: 0, error: 0 };
  provider.events.addHandler(ProviderEvents.Stale, () => {
    seen.stale += 1;
  });
  provider.events.addHandler(ProviderEvents.Error, () => {
    seen.error += 1;
  });
  await OpenFeature.setProviderAndWait(provider);
  const outages = quick ? QUICK_OUTAGES : OUTAGES;
  const times: number[] = [];
  try {
    for (let i = 0; i < outages; i++) {
      const stale = once(provider, ProviderEvents.Stale);
      if (i % 2 === 0) {
        await server.ask("stop");
        await server.close();
      } else await server.kill();
      await stale;
      // Loaded while the old one is away, so that its return is the moment in which it listens.
      server = await Peer.start<ServerSkills>("./server-child.ts");
      await sleep(DOWN_MS);
      const ready = once(provider, ProviderEvents.Ready);
      await server.ask("start", { dataDir, port });
      const backMs = sharedNowMs();
      await ready;
      times.push(sharedNowMs() - backMs);
    }
  } finally {
    await OpenFeature.close();
    await server.ask("stop").catch(() => undefined);
    await server.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
  const { p50, max } = spreadOf(times);
  const failures: string[] = [];
  if (p50 > MAX_MEDIAN_MS)
    failures.push(`READY came ${p50.toFixed(0)} ms after the server's return, more than ${MAX_MEDIAN_MS}`);
  if (seen.error > 0) failures.push(`${seen.error} ERROR events came`);
  if (seen.stale !== outages) failures.push(`${seen.stale} STALE events came of ${outages} outages`);
  return {
    rows: [
      { what: `the server's return to READY, median of ${outages}`, value: p50, unit: "ms", limit: MAX_MEDIAN_MS },
      { what: "the server's return to READY, slowest", value: max, unit: "ms" },
      { what: "ERROR events", value: seen.error, unit: "", limit: 0 },
    ],
    failures,
  };
}

const SILENT = { warn: () => undefined, error: () => undefined };

function once(provider: FlagbackProvider, event: ProviderEvents.Ready | ProviderEvents.Stale): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event} within ${PATIENCE_MS} ms`)), PATIENCE_MS);
    const handler = () => {
      clearTimeout(late);
      provider.events.removeHandler(event, handler);
      resolve();
    };
    provider.events.addHandler(event, handler);
  });
}

async function runtimeToken(url: string, adminToken: string): Promise<string> {
  const answer = await fetch(`${url}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ role: "runtime", name: "bench", aliases: [] }),
  });
  return ((await answer.json()) as { readonly secret: string }).secret;
}
