/**
 * Stops write tools while a kill switch is engaged. It wraps `execute`, because a framework's callbacks can't veto a call.
 */
import { FlagbackError } from "@flagback/schemas";
import type { LiveRun } from "./run.ts";
import { currentLiveRun } from "./with-run.ts";

/** What the model reads instead of a tool's result. */
export const WRITE_DENIED =
  "This action was not performed: writes are disabled for this agent at the moment. " +
  "Do not retry it and do not try another way. Tell the user that it was not done.";

export interface GuardOptions {
  /** Names of the tools that change something. All others only count. */
  readonly writes: readonly string[];
}

interface Tool {
  execute(...args: unknown[]): unknown;
}

/**
 * The same tools with `execute` wrapped. Calls count for the current run; a write asks the kill switch right before it, with
 * `agent` and `tool` in the context. Outside of `withRun` nothing is known about the caller and writes are denied.
 * @throws FlagbackError `usage` for a write name that is no tool, or is a tool without `execute`
 */
export function guardTools<Tools extends Readonly<Record<string, unknown>>>(
  tools: Tools,
  options: GuardOptions,
): Tools {
  const writes = new Set(options.writes);
  for (const name of writes) if (!isTool(tools[name])) throw unknownWrite(name, tools);
  const guarded = Object.entries(tools).map(([name, tool]) => [
    name,
    isTool(tool) ? guard(name, tool, writes.has(name)) : tool,
  ]);
  // The same names with tools of the same shape.
  return Object.fromEntries(guarded) as Tools;
}

function guard(name: string, tool: Tool, isWrite: boolean): Tool {
  const execute = (...args: unknown[]): unknown => {
    const run = currentLiveRun();
    if (isWrite) {
      if (!run?.writesAllowed({ tool: name })) {
        if (run) run.counts.blockedWrites += 1;
        return WRITE_DENIED;
      }
      run.counts.writes += 1;
    }
    return counted(run, () => tool.execute(...args));
  };
  // Everything else of the tool stays, also what it inherits.
  const copy: Tool = Object.create(Object.getPrototypeOf(tool), Object.getOwnPropertyDescriptors(tool));
  return Object.defineProperty(copy, "execute", {
    value: execute,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function counted(run: LiveRun | undefined, call: () => unknown): unknown {
  if (!run) return call();
  run.counts.toolCalls += 1;
  try {
    const result = call();
    if (!(result instanceof Promise)) return result;
    return result.catch((error: unknown) => {
      run.counts.toolErrors += 1;
      throw error;
    });
  } catch (error) {
    run.counts.toolErrors += 1;
    throw error;
  }
}

function isTool(tool: unknown): tool is Tool {
  return typeof tool === "object" && tool !== null && "execute" in tool && typeof tool.execute === "function";
}

function unknownWrite(name: string, tools: Readonly<Record<string, unknown>>): FlagbackError {
  const known = Object.keys(tools).filter((each) => isTool(tools[each]));
  const what = Object.hasOwn(tools, name) ? "has no execute to guard" : "is no tool";
  return new FlagbackError({
    code: "usage",
    message: `guardTools: the write ${JSON.stringify(name)} ${what}.`,
    hint: `Tools that can be guarded: ${known.length > 0 ? known.join(", ") : "none"}.`,
  });
}
