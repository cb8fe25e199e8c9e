/** Documents as a server would send them: the rollback seed's agent at its second stage. */
import type { RuntimeAlias, RuntimeDocument, RuntimeFlag, RuntimeKillSwitch } from "@flagback/schemas";

export const STABLE = "support-agent@2.3.3";
export const CANDIDATE = "support-agent@2.4.0";

export function alias(over: Partial<RuntimeAlias> = {}): RuntimeAlias {
  return {
    kind: "alias",
    key: "support-agent",
    revision: 1,
    salt: "support-agent",
    allocation: [
      { version: CANDIDATE, weight: 50_000 },
      { version: STABLE, weight: 50_000 },
    ],
    stable: STABLE,
    versions: {
      [STABLE]: { payload: { prompt: "old" }, digest: "a".repeat(64) },
      [CANDIDATE]: { payload: { prompt: "new" }, digest: "b".repeat(64) },
    },
    rollout: { rolloutNumber: 1, candidate: CANDIDATE, stage: "validation" },
    revoked: {},
    outcomeTimeoutMs: 60_000,
    onLeaseLapse: "stable",
    ...over,
  };
}

/** The alias after a rollback. */
export function rolledBack(revoke: "finish" | "block_writes" | "abort" = "block_writes"): RuntimeAlias {
  return alias({
    revision: 2,
    allocation: [{ version: STABLE, weight: 100_000 }],
    versions: { [STABLE]: { payload: { prompt: "old" }, digest: "a".repeat(64) } },
    rollout: null,
    revoked: { [CANDIDATE]: revoke },
  });
}

export function killSwitch(...scopes: string[]): RuntimeKillSwitch {
  return {
    kind: "killSwitch",
    key: "writes_disabled",
    revision: 1 + scopes.length,
    engaged: scopes.map((scope, i) => ({ id: `${i}`, scope, reason: "rollback" })),
    failSafe: { engage: true, afterMs: 0 },
  };
}

export function flag(key: string, definition: Partial<RuntimeFlag["definition"]>): RuntimeFlag {
  return {
    kind: "flag",
    key,
    revision: 1,
    definition: { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "on", ...definition },
  };
}

/** An alias, a kill switch, and flags that answer each in another way. */
export const ONE_OF_EACH: readonly RuntimeDocument[] = [
  alias(),
  killSwitch(),
  flag("banner", {}),
  flag("limit", { variants: { low: 5, high: 50 }, defaultVariant: "low" }),
  flag("off", { state: "DISABLED" }),
  flag("byTenant", { targeting: { if: [{ "==": [{ var: "tenant" }, "acme"] }, "off", "on"] } }),
];
