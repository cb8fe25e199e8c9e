import { guardMcpServer, guardTools } from "@flagback/provider/openai-agents";
import { Agent, type MCPServer, Runner, tool } from "@openai/agents";
import { describeGuard, type Framework } from "./contract.ts";
import { modelOf, told } from "./openai-model.ts";
import { outside } from "./outside.ts";
import { type Bodies, type ToolBody, type ToolName, WRITES } from "./shop.ts";

const QUESTION = "help me";
const PARAMETERS = {
  type: "object" as const,
  properties: { input: { type: "string" as const } },
  required: ["input"],
  additionalProperties: false as const,
};

function toolsOf(bodies: Bodies) {
  const toolOf = <Name extends ToolName>(name: Name, body: ToolBody) =>
    tool({
      name,
      description: "does what its name says",
      parameters: PARAMETERS,
      execute: (given, _context, details) => body((given as { input: string }).input, details?.signal),
    });
  return [
    toolOf("search", bodies.search),
    toolOf("refund", bodies.refund),
    toolOf("broken", bodies.broken),
    toolOf("wait", bodies.wait),
  ];
}

const runner = new Runner({ tracingDisabled: true });

/** What the SDK makes of a tool's error; a new version that changes it must be seen here, because errors are told by it. */
const TOOL_ERROR = "An error occurred while running the tool. Please try again.";

describeGuard("OpenAI Agents SDK, run", {
  agent: (bodies) => {
    const tools = guardTools(toolsOf(bodies), { writes: WRITES });
    return {
      run: async (script, signal) => {
        const agent = new Agent({ name: "shop", tools, model: modelOf(script) });
        const { history, finalOutput } = await runner.run(agent, QUESTION, { signal });
        return told(history, finalOutput);
      },
    };
  },
  toolError: TOOL_ERROR,
} satisfies Framework);

describeGuard("OpenAI Agents SDK, a stream read from outside of the run", {
  agent: (bodies) => {
    const tools = guardTools(toolsOf(bodies), { writes: WRITES });
    return {
      run: async (script, signal) => {
        const agent = new Agent({ name: "shop", tools, model: modelOf(script) });
        const stream = await runner.run(agent, QUESTION, { signal, stream: true });
        await outside(async () => {
          for await (const _event of stream) {
            // Read to its end.
          }
          await stream.completed;
        });
        signal.throwIfAborted();
        return told(stream.history, stream.finalOutput);
      },
    };
  },
  toolError: TOOL_ERROR,
} satisfies Framework);

describeGuard("OpenAI Agents SDK, an MCP server", {
  agent: (bodies) => {
    const server = guardMcpServer(mcpServer(bodies));
    return {
      run: async (script, signal) => {
        const agent = new Agent({ name: "shop", mcpServers: [server], model: modelOf(script) });
        const { history, finalOutput } = await runner.run(agent, QUESTION, { signal });
        return told(history, finalOutput);
      },
    };
  },
  toolError: TOOL_ERROR,
} satisfies Framework);

/** A server in this process that says of all but `refund` that it only reads. */
function mcpServer(bodies: Bodies): MCPServer {
  const names = Object.keys(bodies) as ToolName[];
  return {
    name: "shop",
    cacheToolsList: false,
    connect: async () => {},
    close: async () => {},
    invalidateToolsCache: async () => {},
    listTools: async () =>
      names.map((name) => ({
        name,
        inputSchema: PARAMETERS,
        annotations: name === "refund" ? { destructiveHint: false } : { readOnlyHint: true },
      })),
    callTool: async (name, args, _meta, options) => [
      { type: "text", text: await bodies[name as ToolName](String(args?.input), options?.signal) },
    ],
  };
}
