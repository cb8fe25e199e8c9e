/**
 * Guards tools of the AI SDK, `ai` 6 and 7. It knows them by their shape and imports nothing of `ai`.
 */

import { copyWith, type GuardedMethod, guardMethod, methodOf } from "../toolkit/guard-method.ts";
import { guardRecord } from "../toolkit/guard-tools.ts";
import { WRITE_DENIED } from "../toolkit/guarded-call.ts";
import type { GuardOptions } from "../toolkit/write-rule.ts";

const EXECUTE: GuardedMethod = {
  method: "execute",
  denied: () => WRITE_DENIED,
  signal: { argument: 1, name: "abortSignal" },
};

/**
 * The same tools, for `generateText`, `streamText` and agents. Calls count for the current run; a write asks the kill switch
 * right before it, and while that is engaged the model reads `WRITE_DENIED` as its result. `abortSignal` of each call aborts
 * also when the run is revoked. Tools without `execute`, which the client or the model's provider runs, stay as they are.
 * @throws FlagbackError `usage` for a write without `execute`, and for a name that is a write and a read
 */
export function guardTools<Tools extends Readonly<Record<string, object>>>(
  tools: Tools,
  options?: GuardOptions<keyof Tools & string>,
): Tools {
  return guardRecord(tools, options, (tool, guard) =>
    guardMethod(guard.isWrite ? withDeniedOutput(tool) : tool, guard, EXECUTE),
  );
}

/** A tool's own `toModelOutput` knows its results only, and would be at a loss with ours. */
function withDeniedOutput(tool: object): object {
  const toModelOutput = methodOf(tool, "toModelOutput");
  if (!toModelOutput) return tool;
  return copyWith(tool, "toModelOutput", (options: { readonly output: unknown }) =>
    options.output === WRITE_DENIED ? { type: "text", value: WRITE_DENIED } : toModelOutput.call(tool, options),
  );
}
