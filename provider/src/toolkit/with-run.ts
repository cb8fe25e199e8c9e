/**
 * Runs an agent's code as one run: found again anywhere below it by `currentRun()`, and reported when it ends.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { EvaluationContext, EvaluationDetails } from "@openfeature/core";
import type { Client } from "@openfeature/server-sdk";
import { type Clock, systemClock } from "../clock.ts";
import { isRunId, MAX_RUN_ID_LENGTH } from "../outcomes/outcome.ts";
import { hostOf, type RunHost, type RunProvider } from "../run-host.ts";
import { nameOfThrown } from "../thrown.ts";
import { LiveRun, type Run, type RunReport } from "./run.ts";

export interface RunOptions {
  /** An OpenFeature client bound to a `FlagbackProvider`, alone or in a MultiProvider. Give it, or `provider`. */
  readonly client?: Client;
  /** The provider itself, for code without an OpenFeature client. */
  readonly provider?: RunProvider;
  /** The agent's name, which is its alias: the attribute `agent` that kill switches are scoped by. */
  readonly agent: string;
  readonly conversationId?: string;
  readonly userId?: string;
  /**
   * 1 to 128 characters. Default, also in place of one that can't be used: a random one. The server counts one outcome for
   * each run id and alias, so a later run of this process under the same id is reported with a suffix, `job-1#9f86d081`;
   * the same id from another process is not counted again.
   */
  readonly runId?: string;
  /** More attributes for evaluations and write checks, such as `tenant`. */
  readonly context?: EvaluationContext;
  /** For tests. */
  readonly clock?: Clock;
}

const runs = new AsyncLocalStorage<LiveRun>();

/**
 * Runs `body` as one run of an agent and hands back what it returns. The targeting key is the conversation, else the user,
 * else the run. When `body` returns without a report the run was a success; when it throws it was a failure, and the same
 * error is thrown on.
 */
export async function withRun<Result>(
  options: RunOptions,
  body: (run: Run) => Result | Promise<Result>,
): Promise<Result> {
  const run = new LiveRun(partsOf(options));
  return runs.run(run, async () => {
    let result: Result;
    try {
      result = await body(run);
    } catch (error) {
      run.end(reportOf(error, run.signal));
      throw error;
    }
    run.end({ status: "success" });
    return result;
  });
}

/** The run that the calling code is part of; undefined outside of `withRun`. */
export function currentRun(): Run | undefined {
  return runs.getStore();
}

/** As `currentRun`, with the counters that only the toolkit writes. */
export function currentLiveRun(): LiveRun | undefined {
  return runs.getStore();
}

function partsOf(options: RunOptions) {
  const { client, provider, agent, conversationId, userId, clock = systemClock } = options;
  const host: RunHost | undefined = provider ?? (client && hostOf(client.metadata.providerMetadata));
  const runId = runIdOf(options.runId, host);
  const targetingKey = conversationId ?? userId ?? runId;
  const context: EvaluationContext = {
    ...client?.getContext(),
    ...(userId !== undefined && { userId }),
    ...(conversationId !== undefined && { conversationId }),
    ...options.context,
    agent,
    targetingKey,
  };
  const resolve = (alias: string, fallback: string) => evaluate(options, alias, fallback, context);
  return { runId, agent, targetingKey, conversationId, context, host, clock, resolve };
}

/** A run id that no outcome can carry would leave the run without one, so another is used. */
function runIdOf(given: unknown, host: RunHost | undefined): string {
  if (isRunId(given)) return given;
  if (given !== undefined) {
    host?.warn(
      "runId.invalid",
      `withRun was given a runId that is no text of 1 to ${MAX_RUN_ID_LENGTH} characters; the run gets a random one`,
    );
  }
  return randomUUID();
}

/** Through the client where there is one, so that the application's hooks and context count. */
async function evaluate(
  { client, provider }: RunOptions,
  alias: string,
  fallback: string,
  context: EvaluationContext,
): Promise<EvaluationDetails<string>> {
  const details = client
    ? await client.getStringDetails(alias, fallback, context)
    : await provider?.resolveStringEvaluation(alias, fallback, context);
  return { value: fallback, ...details, flagKey: alias, flagMetadata: details?.flagMetadata ?? {} };
}

function reportOf(error: unknown, signal: AbortSignal): RunReport {
  const errorType = nameOfThrown(error).slice(0, 128);
  if (signal.aborted) return { status: "cancelled", errorType, errorOrigin: "policy" };
  return { status: errorType === "TimeoutError" ? "timeout" : "failure", errorType };
}
