/** Unleash's client, fed by an HTTP server of ours in the place of theirs, without metrics. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { InMemStorageProvider, Unleash } from "unleash-client";
import type { Contestant, Product } from "../contestant.ts";
import { ALIAS, CANDIDATE, CANDIDATE_PERCENT, CANDIDATE_SHARE, callersAs, FLAG, STABLE } from "../traffic.ts";

const READY_WITHIN_MS = 5_000;

const variant = (name: string, percent: number) => ({
  name,
  weight: percent * 10,
  weightType: "variable",
  stickiness: "userId",
});
const FEATURES = JSON.stringify({
  version: 2,
  features: [
    { name: FLAG, type: "release", enabled: true, strategies: [{ name: "default", parameters: {} }], variants: [] },
    {
      name: ALIAS,
      type: "release",
      enabled: true,
      strategies: [{ name: "default", parameters: {} }],
      variants: [variant(STABLE, 100 - CANDIDATE_PERCENT), variant(CANDIDATE, CANDIDATE_PERCENT)],
    },
  ],
});

export const UNLEASH: Product = {
  name: "Unleash",
  start: async () => {
    const server = createServer((_request, response) => {
      response.setHeader("content-type", "application/json").end(FEATURES);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const client = new Unleash({
      appName: "bench",
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
      disableMetrics: true,
      storageProvider: new InMemStorageProvider(),
    });
    await once(client, "synchronized", { signal: AbortSignal.timeout(READY_WITHIN_MS) });
    const stop = () => {
      client.destroy();
      server.closeAllConnections();
      server.close();
    };
    return { direct: [split(client), flag(client)], stop };
  },
};

const contextOf = callersAs(({ targetingKey, agent }) => ({ userId: targetingKey, properties: { agent } }));

function split(client: Unleash): Contestant {
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) if (client.getVariant(ALIAS, contextOf(i)).name === CANDIDATE) candidates += 1;
    return candidates;
  };
  return { name: "Unleash, getVariant of a split", through: "direct", expectedShare: CANDIDATE_SHARE, run };
}

function flag(client: Unleash): Contestant {
  const run = (calls: number) => {
    let on = 0;
    for (let i = 0; i < calls; i++) if (client.isEnabled(FLAG, contextOf(i))) on += 1;
    return on;
  };
  return { name: "Unleash, isEnabled of a static flag", through: "direct", expectedShare: 1, run };
}
