/** What a runtime answers, from the documents it holds: pure, and the same at every place that evaluates. */
export {
  type AliasDecision,
  type AliasPlan,
  type AliasReason,
  type AliasRole,
  keepVersion,
  pickVersion,
  planAlias,
  resolveAlias,
} from "./alias.ts";
export { applyDelta, changedKeys, type Documents, documentsOf } from "./documents.ts";
export { isEngaged } from "./kill-switch.ts";
export { type Attributes, type ParsedScope, parsedScopeMatches, parseScope, scopeMatches } from "./scope.ts";
