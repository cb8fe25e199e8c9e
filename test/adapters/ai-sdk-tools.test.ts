import { guardTools } from "@flagback/provider/ai-sdk";
import * as v6 from "ai-v6";
import { MockLanguageModelV3 } from "ai-v6/test";
import * as v7 from "ai-v7";
import { MockLanguageModelV4 } from "ai-v7/test";
import { describe, expect, expectTypeOf, test, vi } from "vitest";
import { answer, resultsIn, streamed } from "./ai-sdk-model.ts";
import { script } from "./contract.ts";
import { openShop, WRITE_DENIED } from "./shop.ts";

const SCHEMA = () => ({ type: "object" as const, properties: { input: { type: "string" as const } } });
const inputSchema = v7.jsonSchema<{ input: string }>(SCHEMA);
const stopWhen = v7.stepCountIs(3);
const prompt = "help me";

interface Part {
  readonly type: string;
  readonly output?: unknown;
  readonly preliminary?: boolean;
}

async function itemsOf<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The model asks for one tool and is told what came of it. */
async function ask(tools: v7.ToolSet, tool: string) {
  const turns = script({ tool, input: "1" });
  const model = new MockLanguageModelV4({ doGenerate: (call) => answer(turns, call) });
  const { steps } = await v7.generateText({ model, tools, prompt, stopWhen });
  return { told: resultsIn(model.doGenerateCalls), steps };
}

test("guarded tools have the types that they had, in both versions, and nothing else can be named", () => {
  const six = {
    refund: v6.tool({ inputSchema: v6.jsonSchema<{ id: string }>(SCHEMA), execute: async ({ id }) => ({ paid: id }) }),
    search: v6.dynamicTool({ inputSchema: v6.jsonSchema(SCHEMA), execute: async () => "found" }),
  };
  const seven = { refund: v7.tool({ inputSchema, execute: async ({ input }) => ({ paid: input }) }) };
  expectTypeOf(guardTools(six, { writes: ["refund"], reads: ["search"] })).toEqualTypeOf(six);
  expectTypeOf(guardTools(seven, { writes: ["refund"] })).toEqualTypeOf(seven);
  expectTypeOf<v6.InferToolOutput<typeof six.refund>>().toEqualTypeOf<{ paid: string }>();
  // @ts-expect-error: there is no such tool.
  guardTools(six, { writes: ["refnd"] });
});

test("a tool whose results the model gets in a form of their own tells a denial in plain words", async () => {
  const shop = await openShop();
  const toModelOutput = vi.fn(({ output }: { readonly output: { readonly paid: string } }) => ({
    type: "text" as const,
    value: `paid ${output.paid}`,
  }));
  const refund = v7.tool({
    inputSchema,
    execute: async ({ input }: { input: string }) => ({ paid: input }),
    toModelOutput,
  });
  const tools = guardTools({ refund }, { writes: ["refund"] });

  const allowed = await shop.run(() => ask(tools, "refund"));
  await shop.engage();
  const denied = await shop.run(() => ask(tools, "refund"));

  expect(allowed.result?.told).toEqual(["paid 1"]);
  expect(denied.result?.told).toEqual([WRITE_DENIED]);
  expect(toModelOutput).toHaveBeenCalledTimes(1);
});

describe.each([
  [
    "6",
    async (tools: object, turns: ReturnType<typeof script>) => {
      const model = new MockLanguageModelV3({ doStream: (call) => streamed(turns, call) });
      const stream = v6.streamText({ model, tools: tools as v6.ToolSet, prompt, stopWhen: v6.stepCountIs(3) });
      return itemsOf<Part>(stream.fullStream);
    },
  ],
  [
    "7",
    async (tools: object, turns: ReturnType<typeof script>) => {
      const model = new MockLanguageModelV4({ doStream: (call) => streamed(turns, call) });
      const stream = v7.streamText({ model, tools: tools as v7.ToolSet, prompt, stopWhen });
      return itemsOf<Part>(stream.fullStream);
    },
  ],
] as const)("a tool that streams its output, in AI SDK %s", (_version, stream) => {
  const results = (parts: readonly Part[] = []) =>
    parts.flatMap((part) => (part.type === "tool-result" ? [[part.output, part.preliminary === true]] : []));

  test("streams on when it may, and when it may not its body does not begin", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const refund = {
      inputSchema: v6.jsonSchema<{ input: string }>(SCHEMA),
      async *execute({ input }: { input: string }) {
        done.push(input);
        yield "paying";
        yield `paid ${input}`;
      },
    };
    const tools = guardTools({ refund }, { writes: ["refund"] });

    const allowed = await shop.run(() => stream(tools, script({ tool: "refund", input: "1" })));
    await shop.engage();
    const denied = await shop.run(() => stream(tools, script({ tool: "refund", input: "2" })));

    expect(done).toEqual(["1"]);
    expect(results(allowed.result)).toEqual([
      ["paying", true],
      ["paid 1", true],
      ["paid 1", false],
    ]);
    expect(allowed.outcome).toMatchObject({ toolCalls: 1, writes: 1 });
    expect(results(denied.result).at(-1)).toEqual([WRITE_DENIED, false]);
    expect(denied.outcome).toMatchObject({ status: "success", blockedWrites: 1 });
  });
});

test("a tool is aborted with its run also when nobody passed the run's signal on", async () => {
  const shop = await openShop({ onBreach: { revoke: "abort" } });
  const wait = v7.tool({
    inputSchema,
    execute: (_input, { abortSignal }) =>
      new Promise<string>((resolve) => {
        abortSignal?.addEventListener("abort", () => resolve("gave up"));
        void shop.rollBack();
      }),
  });

  const { result } = await shop.run(() => ask(guardTools({ wait }, { writes: [] }), "wait"));

  expect(result?.told).toEqual(["gave up"]);
});

describe("tools that are not run here", () => {
  const client = v7.tool({ inputSchema, outputSchema: v7.jsonSchema<string>({ type: "string" }) });
  const provider = v7.tool({
    type: "provider",
    id: "shop.search",
    isProviderExecuted: true,
    args: {},
    inputSchema,
    outputSchema: v7.jsonSchema<string>({ type: "string" }),
  });

  test("stay as they are among guarded ones", () => {
    const tools = guardTools({ client, provider }, { writes: [] });
    expect(tools.client).toBe(client);
    expect(tools.provider).toBe(provider);
  });

  test.each(["client", "provider"] as const)("can't be guarded as writes: %s", (name) => {
    expect(() => guardTools({ client, provider }, { writes: [name] })).toThrow(
      expect.objectContaining({ code: "usage", message: expect.stringContaining(`"${name}" has no execute`) }),
    );
  });
});

test("a tool of an MCP server, as the SDK's client gives them, is a write unless it says that it only reads", async () => {
  const shop = await openShop();
  const mcpTool = (annotations?: object) => ({
    ...v7.dynamicTool({ inputSchema, execute: async () => "done" }),
    metadata: { clientName: "shop", toolName: "any", ...(annotations && { annotations }) },
  });
  const tools = guardTools(
    {
      ours: v7.tool({ inputSchema, execute: async () => "done" }),
      listed: mcpTool({ readOnlyHint: true }),
      adding: mcpTool({ destructiveHint: false }),
      mute: mcpTool(),
    },
    { writes: [] },
  );
  await shop.engage();

  const told = async (name: string) => (await shop.run(() => ask(tools as v7.ToolSet, name))).result?.told[0];

  expect(await told("ours")).toBe("done");
  expect(await told("listed")).toBe("done");
  expect(await told("adding")).toBe(WRITE_DENIED);
  expect(await told("mute")).toBe(WRITE_DENIED);
});
