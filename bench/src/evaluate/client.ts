/** Asking through an OpenFeature client, which is the same for every provider. */
import { type Client, OpenFeature, type Provider } from "@openfeature/server-sdk";
import type { Contestant } from "./contestant.ts";
import { CANDIDATE, CANDIDATE_SHARE, callerOf } from "./traffic.ts";

/** A client of its own for a provider that is ready. */
export async function clientOf(domain: string, provider: Provider): Promise<Client> {
  await OpenFeature.setProviderAndWait(domain, provider);
  return OpenFeature.getClient(domain);
}

/** Reads a boolean flag that is on for everybody. */
export function readsFlag(name: string, client: Client, key: string): Contestant {
  const run = async (calls: number) => {
    let on = 0;
    for (let i = 0; i < calls; i++) if (await client.getBooleanValue(key, false, callerOf(i))) on += 1;
    return on;
  };
  return { name, through: "client", expectedShare: 1, run };
}

/** Reads a kill switch that nobody engaged: `true` is what is counted, so released is said the other way round. */
export function readsSwitch(name: string, client: Client, key: string): Contestant {
  const run = async (calls: number) => {
    let released = 0;
    for (let i = 0; i < calls; i++) if (!(await client.getBooleanValue(key, true, callerOf(i)))) released += 1;
    return released;
  };
  return { name, through: "client", expectedShare: 1, run };
}

/** Reads the version that a caller gets. */
export function readsSplit(name: string, client: Client, key: string, expectedShare = CANDIDATE_SHARE): Contestant {
  const run = async (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) {
      if ((await client.getStringValue(key, "", callerOf(i))) === CANDIDATE) candidates += 1;
    }
    return candidates;
  };
  return { name, through: "client", expectedShare, run };
}
