/**
 * One call of a tool under the guard of the current run. Every adapter goes through here.
 */
import type { LiveRun } from "./run.ts";

/** What the model reads instead of a tool's result. */
export const WRITE_DENIED =
  "This action was not performed: writes are disabled for this agent at the moment. " +
  "Do not retry it and do not try another way. Tell the user that it was not done.";

export interface Guard {
  readonly tool: string;
  readonly isWrite: boolean;
  /** What a person should know about how the tools were named; a run's provider says it once. */
  readonly problems: readonly string[];
}

export interface GuardedCall {
  /** The signal aborts when the run is revoked. */
  readonly call: (signal: AbortSignal | undefined) => unknown;
  /** What a denied call answers. */
  readonly denied: () => unknown;
  /** Whether something thrown is an error of the tool. Default: everything is. */
  readonly isError?: (thrown: unknown) => boolean;
  /** Whether a result says that the tool failed. Default: none does. */
  readonly isFailed?: (result: unknown) => boolean;
}

/** Makes the call unless it is denied, and counts it for the run: errors once, also those of an async iterable. */
export function guardedCall(guard: Guard, guarded: GuardedCall, run: LiveRun | undefined): unknown {
  if (isDenied(guard, run)) return guarded.denied();
  if (!run) return guarded.call(undefined);
  countCall(guard, run);
  return watched(run, guarded);
}

/**
 * Whether a call must not be made; counts it as blocked then. Asks the kill switch now, with `agent` and `tool` in the
 * context. Outside of `withRun` nothing is known about the caller and writes are denied.
 */
export function isDenied({ tool, isWrite, problems }: Guard, run: LiveRun | undefined): boolean {
  for (const problem of problems) run?.warn(`guardTools.${problem}`, problem);
  if (!isWrite || run?.writesAllowed({ tool })) return false;
  if (run) run.counts.blockedWrites += 1;
  return true;
}

export function countCall({ isWrite }: Guard, { counts }: LiveRun): void {
  counts.toolCalls += 1;
  if (isWrite) counts.writes += 1;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function watched(run: LiveRun, { call, isError = () => true, isFailed = () => false }: GuardedCall): unknown {
  const failed = (thrown: unknown): never => {
    if (isError(thrown)) run.counts.toolErrors += 1;
    throw thrown;
  };
  const settled = (result: unknown): unknown => {
    if (isFailed(result)) run.counts.toolErrors += 1;
    return isAsyncGenerator(result) ? watchedStream(result, failed) : result;
  };
  let result: unknown;
  try {
    result = call(run.signal);
  } catch (error) {
    return failed(error);
  }
  if (isThenable(result)) return Promise.resolve(result).then(settled, failed);
  return isAsyncIterable(result) ? watchedStream(result, failed) : settled(result);
}

/** The same items and the same end. */
async function* watchedStream(items: AsyncIterable<unknown>, failed: (thrown: unknown) => never) {
  try {
    return yield* items;
  } catch (error) {
    return failed(error);
  }
}

function isAsyncGenerator(value: unknown): value is AsyncGenerator {
  return isAsyncIterable(value) && "next" in value && "return" in value && "throw" in value;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
