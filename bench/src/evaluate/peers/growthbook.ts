/** GrowthBook's client for servers, fed with a payload and without tracking. */
import { GrowthBookClient } from "@growthbook/growthbook";
import type { Contestant, Product } from "../contestant.ts";
import { ALIAS, CANDIDATE, CANDIDATE_SHARE, callersAs, FLAG, STABLE } from "../traffic.ts";

const FEATURES = {
  [FLAG]: { defaultValue: true },
  [ALIAS]: {
    defaultValue: STABLE,
    rules: [
      {
        key: ALIAS,
        variations: [STABLE, CANDIDATE],
        weights: [1 - CANDIDATE_SHARE, CANDIDATE_SHARE],
        coverage: 1,
        hashAttribute: "id",
      },
    ],
  },
};

export const GROWTHBOOK: Product = {
  name: "GrowthBook",
  start: () => {
    const client = new GrowthBookClient().initSync({ payload: { features: FEATURES } });
    return { direct: [split(client), flag(client)], stop: () => client.destroy() };
  },
};

export const GROWTHBOOK_SPLIT = "GrowthBook, getFeatureValue of a split";
const userOf = callersAs(({ targetingKey, agent }) => ({ attributes: { id: targetingKey, agent } }));

function split(client: GrowthBookClient): Contestant {
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) {
      if (client.getFeatureValue<string>(ALIAS, "", userOf(i)) === CANDIDATE) candidates += 1;
    }
    return candidates;
  };
  return { name: GROWTHBOOK_SPLIT, through: "direct", expectedShare: CANDIDATE_SHARE, run };
}

function flag(client: GrowthBookClient): Contestant {
  const run = (calls: number) => {
    let on = 0;
    for (let i = 0; i < calls; i++) if (client.isOn(FLAG, userOf(i))) on += 1;
    return on;
  };
  return { name: "GrowthBook, isOn of a static flag", through: "direct", expectedShare: 1, run };
}
