import { guardTools } from "@flagback/provider/ai-sdk";
import * as v6 from "ai-v6";
import { MockLanguageModelV3 } from "ai-v6/test";
import * as v7 from "ai-v7";
import { MockLanguageModelV4 } from "ai-v7/test";
import { answer, resultsIn, streamed } from "./ai-sdk-model.ts";
import { describeGuard, type Framework, type Script, type Told } from "./contract.ts";
import { outside } from "./outside.ts";
import { type Bodies, type ToolBody, WRITES } from "./shop.ts";

const PROMPT = "help me";
const MAX_STEPS = 9;

const INPUT = () => ({
  type: "object" as const,
  properties: { input: { type: "string" as const } },
  required: ["input"],
});
const DESCRIPTION = "does what its name says";

function toolsForV6({ search, refund, broken, wait }: Bodies) {
  const tool = (body: ToolBody) =>
    v6.tool({
      description: DESCRIPTION,
      inputSchema: v6.jsonSchema<{ input: string }>(INPUT),
      execute: ({ input }, { abortSignal }) => body(input, abortSignal),
    });
  return { search: tool(search), refund: tool(refund), broken: tool(broken), wait: tool(wait) };
}

function toolsForV7({ search, refund, broken, wait }: Bodies) {
  const tool = (body: ToolBody) =>
    v7.tool({
      description: DESCRIPTION,
      inputSchema: v7.jsonSchema<{ input: string }>(INPUT),
      execute: ({ input }, { abortSignal }) => body(input, abortSignal),
    });
  return { search: tool(search), refund: tool(refund), broken: tool(broken), wait: tool(wait) };
}

/** An application that guards its tools once, at its start. */
function framework<Tools extends Record<string, object>>(
  toolsOf: (bodies: Bodies) => Tools & { refund: object },
  run: (tools: Tools, script: Script, signal: AbortSignal) => Promise<Told>,
): Framework {
  return {
    agent: (bodies) => {
      const tools = guardTools(toolsOf(bodies), { writes: WRITES });
      return { run: (script, signal) => run(tools, script, signal) };
    },
    toolError: "the shop is closed",
  };
}

describeGuard(
  "AI SDK 6, generateText",
  framework(toolsForV6, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV3({ doGenerate: (call) => answer(script, call) });
    const stopWhen = v6.stepCountIs(MAX_STEPS);
    const { text } = await v6.generateText({ model, tools, prompt: PROMPT, stopWhen, abortSignal });
    return { text, results: resultsIn(model.doGenerateCalls) };
  }),
);

describeGuard(
  "AI SDK 6, streamText read from outside of the run",
  framework(toolsForV6, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV3({ doStream: (call) => streamed(script, call) });
    const stopWhen = v6.stepCountIs(MAX_STEPS);
    const stream = v6.streamText({ model, tools, prompt: PROMPT, stopWhen, abortSignal, onError() {} });
    await outside(() => stream.consumeStream());
    return { text: await stream.text, results: resultsIn(model.doStreamCalls) };
  }),
);

describeGuard(
  "AI SDK 6, ToolLoopAgent",
  framework(toolsForV6, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV3({ doGenerate: (call) => answer(script, call) });
    const { text } = await new v6.ToolLoopAgent({ model, tools }).generate({ prompt: PROMPT, abortSignal });
    return { text, results: resultsIn(model.doGenerateCalls) };
  }),
);

describeGuard(
  "AI SDK 7, generateText",
  framework(toolsForV7, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV4({ doGenerate: (call) => answer(script, call) });
    const stopWhen = v7.stepCountIs(MAX_STEPS);
    const { text } = await v7.generateText({ model, tools, prompt: PROMPT, stopWhen, abortSignal });
    return { text, results: resultsIn(model.doGenerateCalls) };
  }),
);

describeGuard(
  "AI SDK 7, streamText read from outside of the run",
  framework(toolsForV7, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV4({ doStream: (call) => streamed(script, call) });
    const stopWhen = v7.stepCountIs(MAX_STEPS);
    const stream = v7.streamText({ model, tools, prompt: PROMPT, stopWhen, abortSignal, onError() {} });
    await outside(() => stream.consumeStream());
    return { text: await stream.text, results: resultsIn(model.doStreamCalls) };
  }),
);

describeGuard(
  "AI SDK 7, ToolLoopAgent",
  framework(toolsForV7, async (tools, script, abortSignal) => {
    const model = new MockLanguageModelV4({ doGenerate: (call) => answer(script, call) });
    const { text } = await new v7.ToolLoopAgent({ model, tools }).generate({ prompt: PROMPT, abortSignal });
    return { text, results: resultsIn(model.doGenerateCalls) };
  }),
);
