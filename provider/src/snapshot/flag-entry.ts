/**
 * Any other flag: evaluated by `@openfeature/flagd-core`, which is built when the flag is first read.
 */
import type { RuntimeFlag } from "@flagback/schemas";
import {
  ErrorCode,
  type EvaluationContext,
  type FlagValue,
  type FlagValueType,
  type Logger,
  type ResolutionDetails,
} from "@openfeature/core";
import { type FlagdEvaluator, flagdEvaluator } from "./flagd.ts";
import { failed, type Resolution, settled } from "./results.ts";

export interface FlagEntry {
  readonly kind: "flag";
  readonly document: RuntimeFlag;
  /** Without a live lease the reason is STALE, whatever flagd's rules say. An answer that is an error is told as well. */
  resolve<T extends FlagValue>(
    type: FlagValueType,
    defaultValue: T,
    context: EvaluationContext,
    leaseLive: boolean,
    onError: FlagErrorListener,
  ): Resolution<T>;
}

/** What the flag's definition or its caller does wrong. */
export type FlagErrorListener = (key: string, errorCode: ErrorCode, errorMessage: string) => void;

/** flagd-core warns about schema details on every load; what keeps a flag from working comes back as an error code. */
const silent: Logger = { error() {}, warn() {}, info() {}, debug() {} };

export function flagEntry(document: RuntimeFlag): FlagEntry {
  const { key, definition } = document;
  let core: FlagdEvaluator | string | undefined;
  const isStatic = definition.state === "ENABLED" && definition.targeting === undefined;
  const trusted = new Map<FlagValueType, Resolution<FlagValue>>();
  const stale = new Map<FlagValueType, Resolution<FlagValue>>();

  const resolve = <T extends FlagValue>(
    type: FlagValueType,
    defaultValue: T,
    context: EvaluationContext,
    leaseLive: boolean,
    onError: FlagErrorListener,
  ): Resolution<T> => {
    const statics = leaseLive ? trusted : stale;
    const known = statics.get(type);
    // Every entry of a static flag's map was resolved as its own type.
    if (known !== undefined) return known as Resolution<T>;
    core ??= build(document);
    if (typeof core === "string") {
      onError(key, ErrorCode.PARSE_ERROR, core);
      return failed(defaultValue, ErrorCode.PARSE_ERROR, core);
    }
    const resolved = core.resolve(type, key, defaultValue, context, silent);
    // Its metadata is what the flag's definition says, and nothing of ours.
    if (resolved.errorCode) onError(key, resolved.errorCode, resolved.errorMessage ?? "");
    const details: ResolutionDetails<T> = leaseLive || resolved.errorCode ? resolved : { ...resolved, reason: "STALE" };
    if (!isStatic || details.errorCode || details.variant === undefined) return Promise.resolve(details);
    const made = settled(details);
    statics.set(type, made as Resolution<FlagValue>);
    return made;
  };
  return { kind: "flag", document, resolve };
}

function build({ key, definition }: RuntimeFlag): FlagdEvaluator | string {
  try {
    return flagdEvaluator(JSON.stringify({ flags: { [key]: definition } }), silent);
  } catch (error) {
    return `the definition of ${key} can't be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
