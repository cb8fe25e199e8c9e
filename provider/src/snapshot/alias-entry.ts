/**
 * An alias as the provider holds it: every answer it can give, rendered.
 */
import { type AliasDecision, type AliasPlan, planAlias } from "@flagback/core/evaluation";
import type { RuntimeAlias } from "@flagback/schemas";
import type { FlagMetadata, JsonValue } from "@openfeature/core";
import type { Served } from "../outcomes/attribution.ts";
import { isJsonObject, type Resolution, settled } from "./results.ts";

export interface AliasEntry {
  readonly kind: "alias";
  readonly document: RuntimeAlias;
  readonly plan: AliasPlan<AliasAnswer>;
}

/** One answer of an alias. `served` is null where nothing may be served. */
export interface AliasAnswer {
  readonly decision: AliasDecision;
  readonly flagMetadata: FlagMetadata;
  readonly served: Served | null;
  /** The version's id. */
  readonly asString: Resolution<string> | null;
  /** The version's payload, where that is an object or an array. */
  readonly asObject: Resolution<JsonValue> | null;
}

export function aliasEntry(document: RuntimeAlias): AliasEntry {
  return { kind: "alias", document, plan: planAlias(document, (decision) => render(document, decision)) };
}

function render(document: RuntimeAlias, decision: AliasDecision): AliasAnswer {
  const { version, variant, reason, role, stage } = decision;
  const flagMetadata: FlagMetadata = { revision: document.revision, role };
  if (version !== null) flagMetadata.version = version;
  if (stage !== undefined) flagMetadata.stage = stage;
  if (version === null || variant === null) {
    return { decision, flagMetadata: Object.freeze(flagMetadata), served: null, asString: null, asObject: null };
  }
  const payload = document.versions[version]?.payload as JsonValue;
  return {
    decision,
    flagMetadata,
    served: Object.freeze({ alias: document.key, version, revision: document.revision, payload }),
    asString: settled({ value: version, variant, reason, flagMetadata }),
    asObject: isJsonObject(payload) ? settled<JsonValue>({ value: payload, variant, reason, flagMetadata }) : null,
  };
}
