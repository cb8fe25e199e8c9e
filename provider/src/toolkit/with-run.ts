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
import { LiveRun, type Run, type RunParts, type RunReport } from "./run.ts";
import { type CallingRun, readRunBaggage } from "./run-baggage.ts";
import { readRunToken } from "./run-token.ts";

export interface RunOptions {
  /** An OpenFeature client bound to a `FlagbackProvider`, alone or in a MultiProvider. Give it, or `provider`, or neither inside of another run. */
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
  /** What `run.token()` of the conversation's last run said. One that can't be used costs a log line and nothing else. */
  readonly token?: string | null;
  /** The `baggage` header of the request that asks for this run: it becomes part of the run that sent it. */
  readonly baggage?: string | readonly string[] | null;
  /** False for a run that is part of no other, although it is started inside of one. Default true. */
  readonly inherit?: boolean;
  /** For tests. */
  readonly clock?: Clock;
}

const runs = new AsyncLocalStorage<LiveRun>();

/**
 * Runs `body` as one run of an agent and hands back what it returns. The targeting key is the conversation, else the user,
 * else the run. When `body` returns without a report the run was a success; when it throws it was a failure, and the same
 * error is thrown on.
 *
 * Inside of another run it is part of that one: it inherits client, ids, targeting key and attributes where it is given none,
 * the versions that are pinned there, and the abort signal; it writes only while every agent around it may. It is
 * reported for what it pins itself, and the run around it for what that one pinned.
 */
export async function withRun<Result>(
  options: RunOptions,
  body: (run: Run) => Result | Promise<Result>,
): Promise<Result> {
  const run = new LiveRun(options.agent, partsOf(options));
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

function partsOf(options: RunOptions): RunParts {
  const around = options.inherit === false ? undefined : runs.getStore();
  const { client, provider, host } = bindingOf(options, around);
  const calling = readRunBaggage(options.baggage, host);
  // Who asked for the run by a request is nearer to it than the run in which the server happened to be started.
  const outer = calling ? undefined : around;
  const token = readRunToken(options.token, options.conversationId, host);
  const outside: Partial<CallingRun & RunParts> = calling ?? outer?.parts ?? {};
  const sameHost = outer?.parts.host === host ? outer?.parts : undefined;

  const runId = runIdOf(options.runId, host);
  const conversationId = options.conversationId ?? token?.conversationId ?? outside.conversationId;
  const userId = options.userId ?? outer?.parts.userId;
  const targetingKey = conversationId ?? userId ?? token?.targetingKey ?? outside.targetingKey ?? runId;
  const attributes = { ...outside.attributes, ...options.context };
  const { agent } = options;
  const context: EvaluationContext = {
    ...client?.getContext(),
    ...(userId !== undefined && { userId }),
    ...(conversationId !== undefined && { conversationId }),
    ...attributes,
    agent,
    targetingKey,
  };
  return {
    runId,
    parentRunId: outside.runId,
    agents: [...(outside.agents ?? []).filter((each) => each !== agent), agent],
    targetingKey,
    conversationId,
    userId,
    attributes,
    context,
    outer,
    inherited: calling?.pins ?? sameHost?.inherited ?? [],
    conversation: token?.pins ?? sameHost?.conversation ?? [],
    foreignBaggage: outside.foreignBaggage ?? [],
    client,
    provider,
    host,
    clock: options.clock ?? outer?.parts.clock ?? systemClock,
    resolve: (alias, fallback) => evaluate(client, provider, alias, fallback, context),
  };
}

/** Whom the run asks: what it was given, else what the run around it asks. */
function bindingOf(
  { client, provider }: RunOptions,
  around: LiveRun | undefined,
): Pick<RunParts, "client" | "provider" | "host"> {
  if (!client && !provider && around) return around.parts;
  return { client, provider, host: provider ?? (client && hostOf(client.metadata.providerMetadata)) };
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
  client: Client | undefined,
  provider: RunProvider | undefined,
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
