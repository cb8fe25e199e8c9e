import { guardMcpServer, guardTools } from "@flagback/provider/openai-agents";
import { Agent, type MCPServer, Runner, tool, webSearchTool } from "@openai/agents";
import { describe, expect, expectTypeOf, test } from "vitest";
import { script } from "./contract.ts";
import { modelOf, told } from "./openai-model.ts";
import { openShop, WRITE_DENIED } from "./shop.ts";

type AgentParts = Partial<Pick<ConstructorParameters<typeof Agent>[0], "tools" | "mcpServers">>;

const description = "does what its name says";
const parameters = {
  type: "object" as const,
  properties: { input: { type: "string" as const } },
  required: ["input"],
  additionalProperties: false as const,
};
const runner = new Runner({ tracingDisabled: true });

function agentThatAsks(name: string, parts: AgentParts) {
  return new Agent({ name: "shop", model: modelOf(script({ tool: name, input: "1" })), ...parts });
}

/** The model asks for one tool and is told what came of it. */
async function ask(name: string, parts: AgentParts) {
  const { history, finalOutput } = await runner.run(agentThatAsks(name, parts), "help me");
  return told(history, finalOutput as string | undefined);
}

const refundInto = (done: string[], over: object = {}) =>
  tool({
    name: "refund",
    description,
    parameters,
    execute: async () => {
      done.push("refunded");
      return "refunded";
    },
    ...over,
  });

test("guarded tools have the types that they had", () => {
  const tools = [refundInto([])];
  expectTypeOf(guardTools(tools, { writes: ["refund"] })).toEqualTypeOf(tools);
});

describe("a guarded tool of the OpenAI Agents SDK", () => {
  test("with an output schema needs an errorFunction, which then tells the denial in the schema's terms", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const outputSchema = {
      type: "object" as const,
      properties: { state: { type: "string" as const } },
      required: ["state"],
      additionalProperties: false as const,
    };
    expect(() => guardTools([refundInto(done, { outputSchema })], { writes: ["refund"] })).toThrow(
      expect.objectContaining({ code: "usage", message: expect.stringContaining("no errorFunction") }),
    );
    const errorFunction = (_context: unknown, error: unknown) => ({ state: (error as Error).message });
    const tools = guardTools([refundInto(done, { outputSchema, errorFunction })], { writes: ["refund"] });
    await shop.engage();

    const { result, outcome } = await shop.run(() => ask("refund", { tools }));

    expect(JSON.parse(result?.results[0] ?? "")).toEqual({ state: WRITE_DENIED });
    expect(outcome).toMatchObject({ status: "success", blockedWrites: 1 });
    expect(done).toEqual([]);
  });

  test("asks for approval with its input as the schema completes it, as the SDK does", async () => {
    const json = { type: "object" as const, properties: { amount: { type: "number" as const } } };
    const completing = {
      "~standard": {
        version: 1 as const,
        vendor: "test",
        validate: (value: unknown) => ({ value: { amount: 500, ...(value as object) } }),
        jsonSchema: { input: () => json, output: () => json },
      },
    };
    const seen: unknown[] = [];
    const refund = tool({
      name: "refund",
      description,
      parameters: completing,
      needsApproval: async (_context, input) => {
        seen.push(input);
        return true;
      },
      execute: async () => "refunded",
    });
    const agent = agentThatAsks("refund", { tools: guardTools([refund], { writes: ["refund"] }) });
    const { interruptions } = await runner.run(agent, "help me");
    expect(interruptions).toHaveLength(1);
    expect(seen).toEqual([{ input: "1", amount: 500 }]);
  });

  test("that a person approved while writes were disabled does not run", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const tools = guardTools([refundInto(done, { needsApproval: async () => true })], { writes: ["refund"] });
    const agent = agentThatAsks("refund", { tools });

    const { result, outcome } = await shop.run(async () => {
      const paused = await runner.run(agent, "help me");
      const asked = paused.interruptions.map((interruption) => paused.state.approve(interruption));
      await shop.engage();
      const { history, finalOutput } = await runner.run(agent, paused.state);
      return { asked: asked.length, ...told(history, finalOutput) };
    });

    expect(result).toEqual({ asked: 1, results: [WRITE_DENIED], text: "done" });
    expect(outcome).toMatchObject({ blockedWrites: 1 });
    expect(done).toEqual([]);
  });

  test("whose guardrails run before the approval as well is counted once", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const early = new Runner({ tracingDisabled: true, toolExecution: { preApprovalInputGuardrails: true } });
    const tools = guardTools([refundInto(done, { needsApproval: async () => true })], { writes: ["refund"] });
    const agent = agentThatAsks("refund", { tools });

    const { result, outcome } = await shop.run(async () => {
      const paused = await early.run(agent, "help me");
      const asked = paused.interruptions.map((interruption) => paused.state.approve(interruption));
      await early.run(agent, paused.state);
      return asked.length;
    });

    expect(result).toBe(1);
    expect(done).toEqual(["refunded"]);
    expect(outcome).toMatchObject({ toolCalls: 1, writes: 1 });
  });

  test("that takes too long has an error", async () => {
    const shop = await openShop();
    const wait = tool({
      name: "wait",
      description,
      parameters,
      timeoutMs: 1,
      execute: () => new Promise<string>(() => {}),
    });
    const { outcome } = await shop.run(() => ask("wait", { tools: guardTools([wait], { writes: [] }) }));
    expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 1 });
  });

  test("that is guarded twice asks and counts once, and stays a write", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const asRead = guardTools([refundInto(done)], { writes: [] });
    const tools = guardTools(guardTools(asRead, { writes: ["refund"] }), { writes: [] });

    const allowed = await shop.run(() => ask("refund", { tools }));
    await shop.engage();
    const denied = await shop.run(() => ask("refund", { tools }));

    expect(allowed.outcome).toMatchObject({ toolCalls: 1, writes: 1 });
    expect(denied.outcome).toMatchObject({ blockedWrites: 1 });
    expect(done).toEqual(["refunded"]);
  });

  test("is nothing that OpenAI runs: such a tool stays as it is and can't be guarded as a write", () => {
    const search = webSearchTool();
    expect(guardTools([search], { writes: [] })[0]).toBe(search);
    expect(() => guardTools([search], { writes: [search.name] })).toThrow(
      expect.objectContaining({ code: "usage", message: expect.stringContaining("is not run by a function") }),
    );
  });

  test("is no tool of a version without tool guardrails, which would let every write through", () => {
    const { inputGuardrails: _missing, ...old } = refundInto([]);
    expect(() => guardTools([old], { writes: ["refund"] })).toThrow("has no tool guardrails");
  });

  test("may be an agent: as a read it stays the SDK's own, as a write it is stopped as a whole", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const clerk = agentThatAsks("refund", { tools: [refundInto(done)] });
    const asTool = clerk.asTool({ toolName: "clerk", toolDescription: description });
    expect(guardTools([asTool], { reads: ["clerk"] })[0]).toBe(asTool);
    await shop.engage();
    const { result } = await shop.run(() => ask("clerk", { tools: guardTools([asTool]) }));
    expect(result?.results).toEqual([WRITE_DENIED]);
    expect(done).toEqual([]);
  });
});

describe("a guarded MCP server", () => {
  /** Lists its tools with these annotations; each answers "done", unless it is told otherwise. */
  function mcpServer(
    annotations: Readonly<Record<string, object | undefined>>,
    over: Partial<MCPServer> = {},
  ): MCPServer {
    return {
      name: `shop ${Object.keys(annotations)}`,
      cacheToolsList: false,
      connect: async () => {},
      close: async () => {},
      invalidateToolsCache: async () => {},
      listTools: async () =>
        Object.entries(annotations).map(([name, its]) => ({ name, inputSchema: parameters, annotations: its })),
      callTool: async () => [{ type: "text", text: "done" }],
      ...over,
    };
  }

  test("has writes only, but for what it says reads and what is named so", async () => {
    const shop = await openShop();
    const server = mcpServer({ listed: { readOnlyHint: true }, adding: { destructiveHint: false }, mute: undefined });
    const mcpServers = [guardMcpServer(server, { reads: ["mute"] })];
    await shop.engage();

    const read = async (name: string) => (await shop.run(() => ask(name, { mcpServers }))).result?.results[0];

    expect(await read("listed")).toBe("done");
    expect(await read("mute")).toBe("done");
    expect(await read("adding")).toBe(WRITE_DENIED);
    // What it did not list yet is not known to read.
    const unlisted = guardMcpServer(mcpServer({ listed: { readOnlyHint: true } }));
    expect(await unlisted.callTool("listed", {})).toEqual([{ type: "text", text: WRITE_DENIED }]);
  });

  test("stops a write also where the SDK asks for the full result", async () => {
    const shop = await openShop();
    const done: string[] = [];
    const server = mcpServer(
      { refund: {} },
      {
        useStructuredContent: true,
        callToolResult: async (name) => {
          done.push(name);
          return { content: [{ type: "text", text: "done" }], structuredContent: { state: "refunded" } };
        },
      },
    );
    const mcpServers = [guardMcpServer(server)];

    const allowed = await shop.run(() => ask("refund", { mcpServers }));
    await shop.engage();
    const denied = await shop.run(() => ask("refund", { mcpServers }));

    expect(allowed.result?.results).toEqual(['{"state":"refunded"}']);
    expect(denied.result?.results).toEqual([WRITE_DENIED]);
    expect(done).toEqual(["refund"]);
  });

  test("has an error counted that it tells in its result", async () => {
    const shop = await openShop();
    const failed = Object.assign([{ type: "text" as const, text: "no such order" }], { isError: true });
    const mcpServers = [guardMcpServer(mcpServer({ refund: {} }, { callTool: async () => failed }))];
    const { outcome } = await shop.run(() => ask("refund", { mcpServers }));
    expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 1, writes: 1 });
  });

  test("has its calls aborted with the run also when nobody passed the run's signal on", async () => {
    const shop = await openShop({ onBreach: { revoke: "abort" } });
    const server = mcpServer(
      { wait: { readOnlyHint: true } },
      {
        callTool: (_name, _args, _meta, options) =>
          new Promise((resolve) => {
            options?.signal?.addEventListener("abort", () => resolve([{ type: "text", text: "gave up" }]));
            void shop.rollBack();
          }),
      },
    );
    const { result } = await shop.run(() => ask("wait", { mcpServers: [guardMcpServer(server)] }));
    expect(result?.results).toEqual(["gave up"]);
  });

  test("keeps what its class has to itself", async () => {
    class Server {
      readonly #calls: string[] = [];
      get calls() {
        return this.#calls;
      }
      async listTools() {
        return [{ name: "search", annotations: { readOnlyHint: true } }];
      }
      async callTool(name: string) {
        this.#calls.push(name);
        return [];
      }
    }
    const guarded = guardMcpServer(new Server());
    await guarded.listTools();
    await guarded.callTool("search");
    expect(guarded.calls).toEqual(["search"]);
    expect(guarded).toBeInstanceOf(Server);
  });
});
