/**
 * Guards the tools of an MCP server that an OpenAI agent is given as a whole.
 */
import { guardedCall, WRITE_DENIED } from "../toolkit/guarded-call.ts";
import { withSignal } from "../toolkit/run-signal.ts";
import { currentLiveRun } from "../toolkit/with-run.ts";
import { type CallGuardOptions, writeRule } from "../toolkit/write-rule.ts";

interface ListedTool {
  readonly name: string;
}

/** What is used of the SDK's `MCPServer`. */
export interface McpServer {
  listTools(): Promise<readonly ListedTool[]>;
  callTool(toolName: string, ...rest: never[]): Promise<unknown>;
}

type Method = (...args: unknown[]) => unknown;

const OPTIONS = { argument: 3, name: "signal" } as const;
const deniedContent = () => [{ type: "text", text: WRITE_DENIED }];

/** What a server listed last, by the server: an agent may be given it anew while the SDK keeps the list. */
const listed = new WeakMap<object, ReadonlyMap<string, ListedTool>>();

/**
 * The same server, for an agent's `mcpServers`. Its tools are writes unless they say `readOnlyHint: true`, which is the
 * server's word, or are among `reads`. Calls count for the current run; a write asks the kill switch right before it, and
 * while that is engaged the model reads `WRITE_DENIED` as its result. A call's signal aborts also when the run is revoked.
 */
export function guardMcpServer<Server extends McpServer>(server: Server, options: CallGuardOptions = {}): Server {
  const rule = writeRule(options);
  const call =
    (method: Method, denied: () => unknown): Method =>
    (...args) => {
      const tool = String(args[0]);
      const isWrite = rule.kindOf(tool, listed.get(server)?.get(tool)) !== "read";
      return guardedCall(
        { tool, isWrite, problems: rule.problems },
        { call: (signal) => method.apply(server, withSignal(args, OPTIONS, signal)), denied, isFailed },
        currentLiveRun(),
      );
    };
  const guarded: Readonly<Record<PropertyKey, (method: Method) => Method>> = {
    listTools: (method) => async () => {
      const tools = (await method.call(server)) as readonly ListedTool[];
      listed.set(server, new Map(tools.map((tool) => [tool.name, tool])));
      return tools;
    },
    callTool: (method) => call(method, async () => deniedContent()),
    callToolResult: (method) => call(method, async () => ({ content: deniedContent() })),
  };
  return new Proxy(server, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return Object.hasOwn(guarded, key) ? guarded[key]?.(value as Method) : value.bind(target);
    },
  });
}

/** An MCP tool says in its result that it failed. */
function isFailed(result: unknown): boolean {
  return typeof result === "object" && result !== null && "isError" in result && result.isError === true;
}
