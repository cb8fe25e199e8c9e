/**
 * Guards tools of the OpenAI Agents SDK. It uses the SDK's tool guardrails, because a wrapped `invoke` would lose what the
 * SDK keeps about it, such as how input is prepared for a person's approval. It knows tools by their shape and imports
 * nothing of `@openai/agents`.
 */
import { copyWith } from "../toolkit/guard-method.ts";
import { countCall, type Guard, isDenied, WRITE_DENIED } from "../toolkit/guarded-call.ts";
import { currentLiveRun } from "../toolkit/with-run.ts";
import type { GuardOptions } from "../toolkit/write-rule.ts";
import { guardList, type NameOf } from "./guard-list.ts";

export { guardMcpServer, type McpServer } from "./mcp-server.ts";

interface FunctionTool {
  readonly type: "function";
  readonly name: string;
  readonly inputGuardrails: readonly object[];
  readonly outputGuardrails?: readonly object[];
  readonly outputSchema?: unknown;
  readonly errorFunction?: unknown;
  readonly timeoutMs?: number;
}

/** What `errorFunction` answers by default, and all that is to be seen of a tool's error. With one of your own none is. */
const ERROR_RESULT = "An error occurred while running the tool. Please try again.";

/** The guardrails that were added, so that a tool that is guarded twice asks and counts once. */
const added = new WeakMap<object, { readonly isWrite: boolean }>();

/**
 * The same tools, for an `Agent`. Calls count for the current run; a write asks the kill switch right before it, and while
 * that is engaged the model reads `WRITE_DENIED` as its result. Pass `signal: run.signal` to `run`, so that a revoked run
 * aborts. Tools that are no functions stay as they are. An agent as a tool counts as any other: it is a read where its own
 * tools are guarded.
 * @throws FlagbackError `usage` for a write that can't be stopped here, and for a name that is a write and a read
 */
export function guardTools<Tools extends readonly object[]>(
  tools: Tools,
  options?: GuardOptions<NameOf<Tools[number]>>,
): Tools {
  return guardList(tools, options, {
    obstacleOf,
    guard: (tool, guard) => (isFunctionTool(tool) ? withGuardrails(tool, guard) : tool),
  });
}

function withGuardrails(tool: FunctionTool, guard: Guard): FunctionTool {
  const earlier = tool.inputGuardrails.map((each) => added.get(each)).find((each) => each !== undefined);
  if (earlier && (earlier.isWrite || !guard.isWrite)) return tool;
  if (!guard.isWrite && isAgent(tool)) return tool;
  const ours = guardrails(tool, guard);
  for (const guardrail of ours) added.set(guardrail, guard);
  const [input, output] = ours;
  const theirs = (each: object) => !added.has(each);
  // The last to be asked, so the nearest to the write; the first to see what came of it.
  const asking = copyWith(tool, "inputGuardrails", [...tool.inputGuardrails.filter(theirs), input]);
  return copyWith(asking, "outputGuardrails", [output, ...(tool.outputGuardrails ?? []).filter(theirs)]);
}

function guardrails(tool: FunctionTool, guard: Guard) {
  const allow = { behavior: { type: "allow" } };
  const deny = { behavior: { type: "rejectContent", message: WRITE_DENIED } };
  const mayWrite = {
    type: "tool_input",
    name: "flagback_may_write",
    run: async () => (isDenied(guard, currentLiveRun()) ? deny : allow),
  };
  const count = {
    type: "tool_output",
    name: "flagback_count",
    run: async ({ output }: { readonly output: unknown }) => {
      const run = currentLiveRun();
      if (!run) return allow;
      countCall(guard, run);
      if (isErrorResult(tool, output)) run.counts.toolErrors += 1;
      return allow;
    },
  };
  return [mayWrite, count] as const;
}

function isErrorResult({ name, timeoutMs }: FunctionTool, output: unknown): boolean {
  return output === ERROR_RESULT || output === `Tool '${name}' timed out after ${timeoutMs}ms.`;
}

function obstacleOf(tool: object): string | undefined {
  if (!("type" in tool && tool.type === "function")) return "is not run by a function";
  if (!isFunctionTool(tool)) return "has no tool guardrails; make it with tool() of @openai/agents 0.20 or later";
  if (tool.outputSchema !== undefined && !tool.errorFunction) {
    return "has an outputSchema and no errorFunction that could say in its terms that nothing was done";
  }
  return undefined;
}

function isFunctionTool(tool: object): tool is FunctionTool {
  return "type" in tool && tool.type === "function" && "inputGuardrails" in tool && Array.isArray(tool.inputGuardrails);
}

/** The SDK remembers the agent behind a tool by the tool itself: a copy would not be known. */
function isAgent(tool: object): boolean {
  return "on" in tool && typeof tool.on === "function";
}
