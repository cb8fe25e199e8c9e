/**
 * Who takes part in a chaos run: agents with a candidate that is bad and one that is not, and tenants that scopes ask for.
 */

/** Short, so that a lease runs out within a round; long enough for a machine whose cores are shared. */
export const LEASE_MS = 2_000;
export const HEARTBEAT_MS = 500;

export const WRITE_SWITCH = "writes_disabled";
export const AGENTS: readonly string[] = ["planner", "refunds", "search", "support"];
const TENANTS = 8;

export const stableOf = (agent: string): string => `${agent}@1`;
/** Fails most of its runs: the brain rolls it back. */
export const badOf = (agent: string): string => `${agent}@2`;
/** Fails little more than stable, now and then in a row: the brain gets suspicious, and most often only a person rolls it back. */
export const goodOf = (agent: string): string => `${agent}@3`;

/** What a run is handed that begins before its runtime ever met a server. No server knows it, so none counts it. */
export const NO_VERSION = "none";

/** An alias that only slow readers see, whose version is large. */
export const BULK = "bulk";
const BULK_VERSION = "bulk@1";
const BULK_BYTES = 250_000;

/** What a runtime says of itself at each read. */
export interface Audience {
  readonly agent: string;
  readonly tenant: string;
}

export function audienceOf(runtime: number): Audience {
  return {
    agent: AGENTS[runtime % AGENTS.length] as string,
    tenant: tenantOf(Math.floor(runtime / AGENTS.length)),
  };
}

/** Whether the runtime's agent serves a version that a rollback can withdraw. */
export function isCandidate(runtime: number, version: string | null): boolean {
  return version !== null && version !== stableOf(audienceOf(runtime).agent);
}

export function tenantOf(index: number): string {
  return `t${index % TENANTS}`;
}

/** Everything that the server is told at the start of a run. */
export function configuration(): object {
  const policy = {
    guardrails: [{ metric: "error_rate", max: 0.1 }],
    stages: [{ name: "half", percent: 50 }],
    fastTrack: { stages: [{ name: "half", percent: 50 }] },
    // Neither is what a chaos run is about, and either would hold a rollout for a reason that its faults made.
    onNoData: { after: "1h", then: "hold" },
    outcomeTimeout: "10m",
  };
  const agents = AGENTS.map((agent) => [
    agent,
    {
      stable: stableOf(agent),
      candidates: [
        { id: stableOf(agent), weight: 100 },
        { id: badOf(agent), weight: 0 },
        { id: goodOf(agent), weight: 0 },
      ],
      policy,
    },
  ]);
  return {
    versions: [
      ...AGENTS.flatMap((agent) => [stableOf(agent), badOf(agent), goodOf(agent)]).map((id) => ({
        id,
        kind: "prompt",
        payload: { prompt: id },
      })),
      { id: BULK_VERSION, kind: "prompt", payload: { prompt: ".".repeat(BULK_BYTES) } },
    ],
    aliases: {
      ...Object.fromEntries(agents),
      [BULK]: { candidates: [{ id: BULK_VERSION, weight: 100 }] },
    },
  };
}
