/**
 * The only door to `@openfeature/flagd-core`. The published package carries a bundle in place of this file's output
 * (`provider/bundle.ts`), so that nobody installs flagd-core and what it needs beside the provider. Its declarations must
 * name nothing of flagd-core, because it is not there where they are read.
 */
import type { EvaluationContext, FlagValue, FlagValueType, Logger, ResolutionDetails } from "@openfeature/core";
import { FlagdCore } from "@openfeature/flagd-core";

/** Evaluates the flags of one configuration, by flagd's rules. */
export interface FlagdEvaluator {
  resolve<T extends FlagValue>(
    type: FlagValueType,
    key: string,
    defaultValue: T,
    context: EvaluationContext,
    logger: Logger,
  ): ResolutionDetails<T>;
}

/** @throws Error where the configuration, JSON in flagd's flag-definition format, can't be read */
export function flagdEvaluator(configuration: string, logger: Logger): FlagdEvaluator {
  const core = new FlagdCore(undefined, logger);
  core.setConfigurations(configuration);
  return core;
}
