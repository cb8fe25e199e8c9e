/** LaunchDarkly's server SDK on its own test data, without events. Its answers are promises. */
import { init, type LDClient } from "@launchdarkly/node-server-sdk";
import { TestData } from "@launchdarkly/node-server-sdk/integrations";
import type { Contestant, Product } from "../contestant.ts";
import { ALIAS, CANDIDATE, CANDIDATE_PERCENT, CANDIDATE_SHARE, callersAs, FLAG, STABLE } from "../traffic.ts";

const READY_WITHIN_SECONDS = 5;
const SPLIT = {
  key: ALIAS,
  version: 1,
  on: true,
  salt: ALIAS,
  variations: [STABLE, CANDIDATE],
  offVariation: 0,
  fallthrough: {
    rollout: {
      variations: [
        { variation: 0, weight: (100 - CANDIDATE_PERCENT) * 1_000 },
        { variation: 1, weight: CANDIDATE_PERCENT * 1_000 },
      ],
    },
  },
};

export const LAUNCHDARKLY: Product = {
  name: "LaunchDarkly",
  start: async () => {
    const data = new TestData();
    await data.update(data.flag(FLAG).booleanFlag().variationForAll(true));
    await data.usePreconfiguredFlag(SPLIT);
    const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
    const options = { updateProcessor: data.getFactory(), sendEvents: false, diagnosticOptOut: true, logger: silent };
    const client = init("sdk-key-of-nobody", options);
    await client.waitForInitialization({ timeout: READY_WITHIN_SECONDS });
    return { direct: [split(client), flag(client)], stop: () => client.close() };
  },
};

const contextOf = callersAs(({ targetingKey, agent }) => ({ kind: "user", key: targetingKey, agent }));

function split(client: LDClient): Contestant {
  const run = async (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) {
      if ((await client.stringVariation(ALIAS, contextOf(i), "")) === CANDIDATE) candidates += 1;
    }
    return candidates;
  };
  return {
    name: "LaunchDarkly, stringVariation of a split",
    through: "direct, a promise",
    expectedShare: CANDIDATE_SHARE,
    run,
  };
}

function flag(client: LDClient): Contestant {
  const run = async (calls: number) => {
    let on = 0;
    for (let i = 0; i < calls; i++) if (await client.boolVariation(FLAG, contextOf(i), false)) on += 1;
    return on;
  };
  return { name: "LaunchDarkly, boolVariation of a static flag", through: "direct, a promise", expectedShare: 1, run };
}
