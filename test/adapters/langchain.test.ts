import { guardTools, writeGuard } from "@flagback/provider/langchain";
import type { BaseMessage } from "@langchain/core/messages";
import { createAgent, tool } from "langchain";
import { describeGuard, type Framework } from "./contract.ts";
import { ScriptedModel, told } from "./langchain-model.ts";
import { outside } from "./outside.ts";
import { type Bodies, type ToolBody, type ToolName, WRITES } from "./shop.ts";

const QUESTION = { messages: [{ role: "user", content: "help me" }] };
const SCHEMA = {
  type: "object" as const,
  properties: { input: { type: "string" as const } },
  required: ["input"],
};

function toolsOf(bodies: Bodies) {
  const toolOf = <Name extends ToolName>(name: Name, body: ToolBody) =>
    tool(({ input }: { input: string }, { signal }) => body(input, signal), {
      name,
      description: "does what its name says",
      schema: SCHEMA,
    });
  return [
    toolOf("search", bodies.search),
    toolOf("refund", bodies.refund),
    toolOf("broken", bodies.broken),
    toolOf("wait", bodies.wait),
  ];
}

const withGuardedTools: Framework = {
  agent: (bodies) => {
    const tools = guardTools(toolsOf(bodies), { writes: WRITES });
    return {
      run: async (script, signal) => {
        const agent = createAgent({ model: new ScriptedModel(script), tools });
        return told((await agent.invoke(QUESTION, { signal })).messages);
      },
    };
  },
  toolError: /the shop is closed/,
};

describeGuard("LangChain, createAgent with guardTools", withGuardedTools);

describeGuard("LangChain, a stream of createAgent read from outside of the run", {
  ...withGuardedTools,
  agent: (bodies) => {
    const tools = guardTools(toolsOf(bodies), { writes: WRITES });
    return {
      run: async (script, signal) => {
        const agent = createAgent({ model: new ScriptedModel(script), tools });
        const stream = await agent.stream(QUESTION, { signal, streamMode: "values" });
        return outside(async () => {
          let messages: BaseMessage[] = [];
          for await (const state of stream) messages = state.messages;
          return told(messages);
        });
      },
    };
  },
});

describeGuard("LangChain, createAgent with the middleware writeGuard", {
  agent: (bodies) => {
    const tools = toolsOf(bodies);
    const middleware = [writeGuard({ reads: ["search", "broken", "wait"] })];
    return {
      run: async (script, signal) => {
        const agent = createAgent({ model: new ScriptedModel(script), tools, middleware });
        return told((await agent.invoke(QUESTION, { signal })).messages);
      },
    };
  },
  toolError: null,
});
