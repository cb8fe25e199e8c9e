/**
 * Guards tools of LangChain 1: the tools themselves, or all of an agent's by a middleware.
 */
import { ToolMessage } from "@langchain/core/messages";
import { guardMethod, isGuarded, methodOf } from "../toolkit/guard-method.ts";
import { guardedCall, isDenied, WRITE_DENIED } from "../toolkit/guarded-call.ts";
import { currentLiveRun } from "../toolkit/with-run.ts";
import { type CallGuardOptions, type GuardOptions, writeRule } from "../toolkit/write-rule.ts";
import { guardList, type NameOf } from "./guard-list.ts";

/**
 * The same tools, for `createAgent`, a LangGraph `ToolNode` or a model. Calls count for the current run; a write asks the
 * kill switch right before it, and while that is engaged the model reads `WRITE_DENIED` as its result. A call's `signal`
 * aborts also when the run is revoked. Tools that the model's provider runs stay as they are.
 * @throws FlagbackError `usage` for a write that the model's provider runs, and for a name that is a write and a read
 */
export function guardTools<Tools extends readonly object[]>(
  tools: Tools,
  options?: GuardOptions<NameOf<Tools[number]>>,
): Tools {
  return guardList(tools, options, {
    obstacleOf: (tool) => (guardedMethodOf(tool) ? undefined : "is run by the model's provider"),
    guard: (tool, guard) => {
      const method = guardedMethodOf(tool);
      if (!method) return tool;
      return guardMethod(tool, guard, { method, denied: () => deniedResult(tool), signal: SIGNALS[method], isError });
    },
  });
}

interface ToolCallRequest {
  readonly toolCall: { readonly id?: string; readonly name: string };
  readonly tool: unknown;
}

/**
 * A middleware for `createAgent` that does the same as `guardTools` for every tool of the agent, also for those that other
 * middleware brings. As with each middleware that wraps tool calls, LangChain then ends the agent's run at a tool's error
 * instead of telling the model; its `toolErrorMiddleware` undoes that, and `guardTools` does not need it. Put it last, so
 * that retries ask again.
 */
export function writeGuard(options: CallGuardOptions = {}) {
  const rule = writeRule(options);
  return {
    name: "flagbackWriteGuard",
    wrapToolCall: async <Request extends ToolCallRequest, Result>(
      request: Request,
      handler: (request: Request) => Result | Promise<Result>,
    ): Promise<Result | ToolMessage> => {
      const { toolCall, tool } = request;
      const guard = {
        tool: toolCall.name,
        isWrite: rule.kindOf(toolCall.name, tool) !== "read",
        problems: rule.problems,
      };
      const run = currentLiveRun();
      const denied = () => deniedMessage(toolCall);
      if (isGuardedTool(tool, guard.isWrite)) return isDenied(guard, run) ? denied() : handler(request);
      // The handler's own result, or the message.
      return guardedCall(guard, { call: () => handler(request), denied, isError }, run) as Result | ToolMessage;
    },
  };
}

/** Where LangChain's methods take their `RunnableConfig`. */
const SIGNALS = { _call: { argument: 2, name: "signal" }, invoke: { argument: 1, name: "signal" } } as const;

/** `_call` is below everything that calls a tool. A runnable that poses as a tool has `invoke` alone. */
function guardedMethodOf(tool: unknown): keyof typeof SIGNALS | undefined {
  if (methodOf(tool, "_call")) return "_call";
  return methodOf(tool, "invoke") ? "invoke" : undefined;
}

/** It counts by itself then. */
function isGuardedTool(tool: unknown, isWrite: boolean): boolean {
  const method = guardedMethodOf(tool);
  return method !== undefined && isGuarded(tool as object, method, isWrite);
}

function deniedResult(tool: object): unknown {
  const isPair = "responseFormat" in tool && tool.responseFormat === "content_and_artifact";
  return isPair ? [WRITE_DENIED, undefined] : WRITE_DENIED;
}

function deniedMessage({ id, name }: ToolCallRequest["toolCall"]): ToolMessage {
  return new ToolMessage({ content: WRITE_DENIED, tool_call_id: id ?? "", name });
}

/** LangGraph throws to wait for a person and to jump elsewhere; neither is a failure. */
function isError(thrown: unknown): boolean {
  return !(typeof thrown === "object" && thrown !== null && "is_bubble_up" in thrown && thrown.is_bubble_up === true);
}
