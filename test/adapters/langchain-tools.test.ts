import { guardTools, writeGuard } from "@flagback/provider/langchain";
import { RunnableLambda } from "@langchain/core/runnables";
import { DynamicStructuredTool } from "@langchain/core/tools";
import { createAgent, createMiddleware, tool, toolErrorMiddleware, toolRetryMiddleware } from "langchain";
import { describe, expect, expectTypeOf, test } from "vitest";
import { script } from "./contract.ts";
import { ScriptedModel, told } from "./langchain-model.ts";
import { openShop, WRITE_DENIED } from "./shop.ts";

type CreateAgent = Parameters<typeof createAgent>[0];

const description = "does what its name says";
const schema = {
  type: "object" as const,
  properties: { input: { type: "string" as const } },
  required: ["input"],
};

/** The model asks for one tool and is told what came of it. */
async function ask(name: string, { tools, middleware = [] }: Pick<CreateAgent, "tools" | "middleware">) {
  const agent = createAgent({ model: new ScriptedModel(script({ tool: name, input: "1" })), tools, middleware });
  return told((await agent.invoke({ messages: [{ role: "user", content: "help me" }] })).messages);
}

const refundInto = (done: string[]) =>
  tool(
    async ({ input }: { input: string }) => {
      done.push(input);
      return `refunded ${input}`;
    },
    { name: "refund", description, schema },
  );

test("guarded tools have the types that they had, and nothing else can be named", () => {
  const tools = [
    tool(async () => "found", { name: "search", description, schema }),
    tool(async () => "refunded", { name: "refund", description, schema }),
  ];
  expectTypeOf(guardTools(tools, { writes: ["refund"], reads: ["search"] })).toEqualTypeOf(tools);
  // @ts-expect-error: there is no such tool.
  guardTools(tools, { writes: ["refnd"] });
});

describe("a guarded LangChain tool", () => {
  test("that answers with content and an artifact tells a denial as its content", async () => {
    const shop = await openShop();
    const map = tool(async ({ input }: { input: string }) => [`map of ${input}`, { pixels: 7 }], {
      name: "map",
      description,
      schema,
      responseFormat: "content_and_artifact",
    });
    const tools = guardTools([map], { writes: ["map"] });

    const allowed = await shop.run(() => ask("map", { tools }));
    await shop.engage();
    const denied = await shop.run(() => ask("map", { tools }));

    expect(allowed.result?.results).toEqual(["map of 1"]);
    expect(denied.result?.results).toEqual([WRITE_DENIED]);
  });

  test("that streams does not begin while it may not", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const refund = tool(
      async function* ({ input }: { input: string }) {
        done.push(input);
        yield "paying";
        return `refunded ${input}`;
      },
      { name: "refund", description, schema },
    );
    const tools = guardTools([refund], { writes: ["refund"] });

    const allowed = await shop.run(() => ask("refund", { tools }));
    await shop.engage();
    const denied = await shop.run(() => ask("refund", { tools }));

    expect(allowed.result?.results).toEqual(["refunded 1"]);
    expect(denied.result?.results).toEqual([WRITE_DENIED]);
    expect(done).toEqual(["1"]);
  });

  test("may be a runnable that poses as one", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const refund = RunnableLambda.from(async ({ input }: { input: string }) => {
      done.push(input);
      return "refunded";
    }).asTool({ name: "refund", description, schema: schema as never });
    const tools = guardTools([refund], { writes: ["refund"] });
    await shop.engage();

    expect((await shop.run(() => ask("refund", { tools }))).result?.results).toEqual([WRITE_DENIED]);
    expect(done).toEqual([]);
  });

  test("is aborted with its run also when nobody passed the run's signal on", async () => {
    const shop = await openShop({ onBreach: { revoke: "abort" } });
    const wait = tool(
      (_input: { input: string }, { signal }) =>
        new Promise<string>((_, reject) => {
          signal?.addEventListener("abort", () => reject(new Error("gave up")));
          void shop.rollBack();
        }),
      { name: "wait", description, schema },
    );

    const { result } = await shop.run(() => ask("wait", { tools: guardTools([wait], { writes: [] }) }));

    // LangChain ends the call itself when the signal that we handed it aborts.
    expect(result?.results).toEqual([expect.stringMatching(/abort|rolled back/i)]);
  });

  test("that pauses for a person, as LangGraph does by throwing, has no error", async () => {
    const shop = await openShop();
    // What LangGraph tells its own signals by: `is_bubble_up` of GraphBubbleUp.
    const pause = Object.assign(new Error("ask somebody"), { is_bubble_up: true });
    const wait = tool(
      async () => {
        throw pause;
      },
      { name: "wait", description, schema },
    );
    const [guarded] = guardTools([wait], { writes: [] });

    const { error, outcome } = await shop.run(() => guarded?.invoke({ input: "1" }) as Promise<unknown>);

    expect(error).toBe(pause);
    expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 0 });
  });

  test("from an MCP server, as LangChain's MCP adapters make them, is a write unless it says that it only reads", async () => {
    const shop = await openShop();
    const mcpTool = (name: string, annotations?: object) =>
      new DynamicStructuredTool({
        name,
        description,
        schema,
        responseFormat: "content_and_artifact",
        metadata: { annotations },
        func: async () => ["done", []],
      });
    const tools = guardTools(
      [
        tool(async () => "done", { name: "ours", description, schema }),
        mcpTool("listed", { readOnlyHint: true }),
        mcpTool("adding", { destructiveHint: false }),
        mcpTool("mute"),
      ],
      { writes: [] },
    );
    await shop.engage();

    const read = async (name: string) => (await shop.run(() => ask(name, { tools }))).result?.results[0];

    expect(await read("ours")).toBe("done");
    expect(await read("listed")).toBe("done");
    expect(await read("adding")).toBe(WRITE_DENIED);
    expect(await read("mute")).toBe(WRITE_DENIED);
  });
});

test("a tool that the model's provider runs stays as it is, and can't be guarded as a write", () => {
  const webSearch = { type: "web_search", name: "search_the_web" };
  expect(guardTools([webSearch], { writes: [] })).toEqual([webSearch]);
  expect(guardTools([webSearch], { writes: [] })[0]).toBe(webSearch);
  expect(() => guardTools([webSearch], { writes: ["search_the_web"] })).toThrow("is run by the model's provider");
  expect(() => guardTools([{ type: "code_execution" }])).toThrow('"code_execution" is run by the model\'s provider');
});

describe("the middleware writeGuard", () => {
  test("stops a tool that other middleware brings when it is called", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const bringer = createMiddleware({
      name: "bringer",
      wrapModelCall: (request, handler) => handler({ ...request, tools: [...request.tools, refundInto(done)] }),
      wrapToolCall: (request, handler) => handler({ ...request, tool: refundInto(done) }),
    });

    for (const middleware of [
      [bringer, writeGuard()],
      [writeGuard(), bringer],
    ]) {
      const allowed = await shop.run(() => ask("refund", { middleware }));
      await shop.engage();
      const denied = await shop.run(() => ask("refund", { middleware }));
      await shop.release();

      expect(allowed.result?.results).toEqual(["refunded 1"]);
      expect(allowed.outcome).toMatchObject({ toolCalls: 1, writes: 1 });
      expect(denied.result?.results).toEqual([WRITE_DENIED]);
      expect(denied.outcome).toMatchObject({ blockedWrites: 1 });
    }
    expect(done).toEqual(["1", "1"]);
  });

  test("counts a call of a tool that is guarded itself once", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const given = { tools: guardTools([refundInto(done)], { writes: ["refund"] }), middleware: [writeGuard()] };

    const allowed = await shop.run(() => ask("refund", given));
    await shop.engage();
    const denied = await shop.run(() => ask("refund", given));

    expect(allowed.outcome).toMatchObject({ toolCalls: 1, writes: 1 });
    expect(denied.outcome).toMatchObject({ blockedWrites: 1 });
    expect(done).toEqual(["1"]);
  });

  test("does not rely on a guarded tool that other middleware may change for another", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const changer = createMiddleware({
      name: "changer",
      wrapToolCall: (request, handler) => handler({ ...request, tool: refundInto(done) }),
    });
    const tools = guardTools([refundInto(done)], { writes: ["refund"] });
    await shop.engage();

    const { result } = await shop.run(() => ask("refund", { tools, middleware: [writeGuard(), changer] }));

    expect(result?.results).toEqual([WRITE_DENIED]);
    expect(done).toEqual([]);
  });

  test("asks again before each retry, and leaves a tool's errors to the middleware for them", async () => {
    const shop = await openShop();
    let attempts = 0;
    const refund = tool(
      async () => {
        attempts += 1;
        await shop.engage();
        throw new Error("not yet");
      },
      { name: "refund", description, schema },
    );
    const middleware = [
      toolErrorMiddleware({ onError: () => "it failed" }),
      toolRetryMiddleware({ maxRetries: 3, initialDelayMs: 0, onFailure: "error" }),
      writeGuard(),
    ];

    const { result, outcome } = await shop.run(() => ask("refund", { tools: [refund], middleware }));

    expect(attempts).toBe(1);
    expect(result?.results).toEqual([WRITE_DENIED]);
    expect(outcome).toMatchObject({ status: "success", toolCalls: 1, toolErrors: 1, writes: 1, blockedWrites: 1 });
  });

  test("lets a function decide for each call", async () => {
    const shop = await openShop();
    const done: string[] = [];
    await shop.engage();
    const given = { tools: [refundInto(done)], middleware: [writeGuard({ writes: (name) => name !== "refund" })] };
    expect((await shop.run(() => ask("refund", given))).result?.results).toEqual(["refunded 1"]);
  });
});
