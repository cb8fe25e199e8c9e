/**
 * Stops write tools while a kill switch is engaged. It wraps `execute`, because a framework's callbacks can't veto a call.
 */
import { type GuardedMethod, guardMethod, methodOf } from "./guard-method.ts";
import { type Guard, WRITE_DENIED } from "./guarded-call.ts";
import { toolGuards } from "./tool-guards.ts";
import type { GuardOptions } from "./write-rule.ts";

const EXECUTE: GuardedMethod = { method: "execute", denied: () => WRITE_DENIED };

/**
 * The same tools with `execute` wrapped, for agents without a framework; sub-paths such as `/ai-sdk` do it for theirs. Calls
 * count for the current run; a write asks the kill switch right before it and answers `WRITE_DENIED` while it is engaged.
 * @throws FlagbackError `usage` for a write without `execute`, and for a name that is a write and a read
 */
export function guardTools<Tools extends Readonly<Record<string, unknown>>>(
  tools: Tools,
  options?: GuardOptions<keyof Tools & string>,
): Tools {
  return guardRecord(tools, options, (tool, guard) => guardMethod(tool, guard, EXECUTE));
}

/** Guards each tool of a record that has an `execute`; the others stay. */
export function guardRecord<Tools extends Readonly<Record<string, unknown>>>(
  tools: Tools,
  options: GuardOptions | undefined,
  wrap: (tool: object, guard: Guard) => object,
): Tools {
  const named = Object.entries(tools).map(([name, tool]) => ({
    name,
    tool,
    obstacle: isGuardable(tool) ? undefined : "has no execute",
  }));
  const guards = toolGuards(named, options);
  const guarded = named.map(({ name, tool }, i) => {
    const guard = guards[i];
    return [name, guard && isGuardable(tool) ? wrap(tool, guard) : tool];
  });
  // The same names with tools of the same shape.
  return Object.fromEntries(guarded) as Tools;
}

function isGuardable(tool: unknown): tool is object {
  return methodOf(tool, "execute") !== undefined;
}
