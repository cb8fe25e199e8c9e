/**
 * How soon a change is in force in whole providers that share a process: this project's behind its server, and flagd's behind
 * its gRPC stream. Both evaluate in process, so both pay for reading what comes.
 */
import type { FlagdSyncSkills } from "./flagd-sync-child.ts";
import type { Fleet } from "./fleet.ts";
import { Peer } from "./peer.ts";
import type { ProvidersSkills } from "./providers-child.ts";
import { type Spread, spreadOf } from "./statistics.ts";

export interface WholeProviders {
  readonly flagd: Spread;
  readonly flagback: Spread;
}

/** Milliseconds from the first write, or the commit, to the last of `n` providers; by turns, so that both meet the same machine. */
export async function wholeProviders(
  fleet: Fleet,
  { n, flips, warmUpFlips }: { readonly n: number; readonly flips: number; readonly warmUpFlips: number },
): Promise<WholeProviders> {
  const flagdSync = await Peer.start<FlagdSyncSkills>("./flagd-sync-child.ts");
  const flagd = await Peer.start<ProvidersSkills>("./providers-child.ts");
  const flagback = await Peer.start<ProvidersSkills>("./providers-child.ts");
  try {
    await flagd.ask("connect", { n, port: (await flagdSync.ask("start")).port });
    await flagback.ask("connect", { n, port: fleet.port, token: fleet.runtimeToken });
    const times = { flagd: [] as number[], flagback: [] as number[] };
    for (let i = -warmUpFlips; i < flips; i++) {
      const takesMs = {
        flagback: await turn(flagback, async () => (await fleet.flip({ settled: false })).committedMs),
        flagd: await turn(flagd, () => flagdSync.ask("flip")),
      };
      if (i < 0) continue;
      times.flagback.push(takesMs.flagback);
      times.flagd.push(takesMs.flagd);
    }
    await Promise.all([flagd.ask("close"), flagback.ask("close")]);
    return { flagd: spreadOf(times.flagd), flagback: spreadOf(times.flagback) };
  } finally {
    await Promise.all([flagback.close(), flagd.close(), flagdSync.close()]);
  }
}

async function turn(providers: Peer<ProvidersSkills>, flip: () => Promise<number>): Promise<number> {
  await providers.ask("reset");
  const startMs = await flip();
  return (await providers.ask("lastArrival")) - startMs;
}
