/**
 * An alias as the provider holds it: every answer it can give, rendered.
 */
import { type AliasDecision, type AliasPlan, planAlias, resolveAlias } from "@flagback/core/evaluation";
import { MAX_GUARDRAILS, type RuntimeAlias } from "@flagback/schemas";
import type { FlagMetadata, JsonValue } from "@openfeature/core";
import type { Served } from "../outcomes/attribution.ts";
import { isJsonObject, type Resolution, settled } from "./results.ts";

export interface AliasEntry {
  readonly kind: "alias";
  readonly document: RuntimeAlias;
  readonly plan: AliasPlan<AliasAnswer>;
  /** Latency limits that runs are watched for, ascending: no more than an outcome may name. */
  readonly latencyLimitsMs: readonly number[];
}

/** One answer of an alias. `served` is null where nothing may be served. */
export interface AliasAnswer {
  readonly decision: AliasDecision;
  /** Whether the version is one that a lapsed lease would take back. */
  readonly needsLease: boolean;
  readonly flagMetadata: FlagMetadata;
  readonly served: Served | null;
  /** The version's id. */
  readonly asString: Resolution<string> | null;
  /** The version's payload, where that is an object or an array. */
  readonly asObject: Resolution<JsonValue> | null;
}

export function aliasEntry(document: RuntimeAlias): AliasEntry {
  // With `onLeaseLapse: last` every answer stays; else everybody gets stable, whoever asks.
  const lapsed = document.onLeaseLapse === "last" ? undefined : resolveAlias(document, undefined, false).version;
  const plan = planAlias(document, (decision) =>
    render(document, decision, lapsed !== undefined && decision.version !== lapsed),
  );
  return { kind: "alias", document, plan, latencyLimitsMs: usableLimits(document.latencyLimitsMs ?? []) };
}

/** A limit that no batch may carry would cost the batch. */
function usableLimits(limitsMs: readonly number[]): readonly number[] {
  const usable = new Set(limitsMs.filter((limitMs) => limitMs > 0));
  return [...usable].sort((a, b) => a - b).slice(0, MAX_GUARDRAILS);
}

function render(document: RuntimeAlias, decision: AliasDecision, needsLease: boolean): AliasAnswer {
  const { version, variant, reason, role, stage } = decision;
  const flagMetadata: FlagMetadata = { revision: document.revision, role };
  if (version !== null) flagMetadata.version = version;
  if (stage !== undefined) flagMetadata.stage = stage;
  if (version === null || variant === null) {
    const nothing = { served: null, asString: null, asObject: null };
    return { decision, needsLease, flagMetadata: Object.freeze(flagMetadata), ...nothing };
  }
  const payload = document.versions[version]?.payload as JsonValue;
  return {
    decision,
    needsLease,
    flagMetadata,
    served: Object.freeze({ alias: document.key, version, revision: document.revision, payload }),
    asString: settled({ value: version, variant, reason, flagMetadata }),
    asObject: isJsonObject(payload) ? settled<JsonValue>({ value: payload, variant, reason, flagMetadata }) : null,
  };
}
