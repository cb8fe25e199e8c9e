import { guardTools, WRITE_DENIED, withRun } from "@flagback/provider";
import { describe, expect, test, vi } from "vitest";
import { killSwitch, STABLE } from "./documents.ts";
import { startToolkit } from "./toolkit-setup.ts";

/** A provider that is connected, and runs on it. */
async function runtime() {
  const { server, client, change, said } = await startToolkit();
  return {
    said,
    engage: () => change(killSwitch("*")),
    /** Runs the body and answers what was reported about its tools. */
    run: async (body: () => Promise<unknown>) => {
      const before = server.outcomes.length;
      await withRun({ client: client(), agent: "support-agent" }, async (run) => {
        await run.pin("support-agent", STABLE);
        await body();
      });
      await server.until(() => server.outcomes.length > before);
      return server.outcomes.at(-1);
    },
  };
}

const hinted = (annotations: object) => ({ annotations, execute: vi.fn(async () => "done") });
const plain = () => ({ execute: vi.fn(async () => "done") });

describe("which tools are writes", () => {
  const denied = async (
    tools: Record<string, { execute(): Promise<string> }>,
    options?: Parameters<typeof guardTools>[1],
  ) => {
    const { engage, run } = await runtime();
    const guarded = guardTools(tools, options);
    await engage();
    const stopped: string[] = [];
    await run(async () => {
      for (const [name, tool] of Object.entries(guarded)) {
        if ((await tool.execute()) === WRITE_DENIED) stopped.push(name);
      }
    });
    return stopped;
  };

  test("with a list of writes: these, and of your own tools no others", async () => {
    expect(await denied({ search: plain(), refund: plain() }, { writes: ["refund"] })).toEqual(["refund"]);
  });

  test("with a list of reads: all others", async () => {
    const tools = { search: plain(), refund: plain(), remove: plain() };
    expect(await denied(tools, { reads: ["search"] })).toEqual(["refund", "remove"]);
  });

  test("without a word: all that don't say of themselves that they only read", async () => {
    const tools = {
      mute: plain(),
      reads: hinted({ readOnlyHint: true }),
      adds: hinted({ destructiveHint: false }),
      denies: hinted({ readOnlyHint: false }),
      almost: hinted({ readOnlyHint: "true" }),
    };
    expect(await denied(tools)).toEqual(["mute", "adds", "denies", "almost"]);
  });

  test("a tool from an MCP server is no read by omission from a list of writes, only by its hint or by name", async () => {
    const tools = {
      ours: plain(),
      dynamic: { ...plain(), type: "dynamic" },
      langchain: { ...plain(), metadata: { annotations: undefined } },
      aiSdk: { ...plain(), metadata: { clientName: "shop", toolName: "aiSdk" } },
      hinted: { ...plain(), type: "dynamic", metadata: { annotations: { readOnlyHint: true } } },
      vouched: { ...plain(), type: "dynamic" },
    };
    expect(await denied(tools, { writes: [], reads: ["vouched"] })).toEqual(["dynamic", "langchain", "aiSdk"]);
  });

  test("a function decides for each tool, once, and anything but false is a write", async () => {
    const writes = vi.fn((name: string) => (name === "search" ? false : (undefined as never)));
    const tools = { search: plain(), refund: plain(), lookup: plain() };
    expect(await denied(tools, { writes, reads: ["lookup"] })).toEqual(["refund"]);
    expect(writes.mock.calls).toEqual([
      ["search", tools.search],
      ["refund", tools.refund],
    ]);
  });

  test("a tool can't be both", () => {
    const guarding = () => guardTools({ refund: plain() }, { writes: ["refund"], reads: ["refund"] });
    expect(guarding).toThrow(expect.objectContaining({ code: "usage", message: expect.stringContaining("refund") }));
  });

  test.each([
    ["by name", { writes: ["map"] as const }],
    ["by a function", { writes: () => true }],
    ["because nobody says that it reads", {}],
  ])("one without execute that is a write %s is refused when it is guarded, with what to do", (_how, options) => {
    const tools = { map: { description: "the client draws it" } };
    expect(() => guardTools(tools, options)).toThrow(
      expect.objectContaining({ code: "usage", message: expect.stringContaining('"map" has no execute') }),
    );
    expect(guardTools(tools, { reads: ["map"] }).map).toBe(tools.map);
    expect(guardTools(tools, { writes: [] }).map).toBe(tools.map);
  });
});

describe("a name that is no tool", () => {
  test("among the writes is said once, and until then every tool that nobody vouches for is a write", async () => {
    const { engage, run, said } = await runtime();
    const tools = { search: plain(), refund: plain(), lookup: plain(), map: {} };
    const guarded = guardTools(tools, { writes: ["refnd" as "refund"], reads: ["lookup"] });
    const callAll = async () => [
      await guarded.search.execute(),
      await guarded.refund.execute(),
      await guarded.lookup.execute(),
    ];
    const answers: string[][] = [];
    await run(async () => answers.push(await callAll()));
    await engage();
    await run(async () => answers.push(await callAll()));
    expect(answers).toEqual([
      ["done", "done", "done"],
      [WRITE_DENIED, WRITE_DENIED, "done"],
    ]);
    expect(guarded.map).toBe(tools.map);
    expect(said).toEqual([expect.stringMatching(/the write "refnd".*none of them \(search, refund, lookup, map\)/)]);
  });

  test("among the reads is said once and opens nothing", async () => {
    const { engage, run, said } = await runtime();
    const guarded = guardTools({ search: plain() }, { reads: ["serch" as "search"] });
    await engage();
    await run(async () => {
      expect(await guarded.search.execute()).toBe(WRITE_DENIED);
      expect(await guarded.search.execute()).toBe(WRITE_DENIED);
    });
    expect(said).toEqual([expect.stringContaining('the read "serch"')]);
  });
});

describe("a tool that streams", () => {
  const letters = () => {
    const done: string[] = [];
    return {
      done,
      async *execute(last: string): AsyncGenerator<string, string> {
        done.push("begun");
        yield "a";
        if (last === "broken") throw new Error("broken");
        yield last;
        return "all";
      },
    };
  };

  async function read(items: AsyncGenerator<string, string>): Promise<string[]> {
    const seen: string[] = [];
    for (;;) {
      const { done, value } = await items.next();
      seen.push(value);
      if (done) return seen;
    }
  }

  test("gives the same items and the same end, and counts as one call", async () => {
    const { run } = await runtime();
    const guarded = guardTools({ letters: letters() }, { writes: ["letters"] });
    const outcome = await run(async () => expect(await read(guarded.letters.execute("b"))).toEqual(["a", "b", "all"]));
    expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 0, writes: 1 });
  });

  test("is asked when its first item is: a switch engaged after the call and before it stops the body", async () => {
    const { engage, run } = await runtime();
    const tools = { letters: letters() };
    const guarded = guardTools(tools, { writes: ["letters"] });
    const outcome = await run(async () => {
      const items = guarded.letters.execute("b");
      await engage();
      expect(await read(items)).toEqual([WRITE_DENIED, WRITE_DENIED]);
    });
    expect(tools.letters.done).toEqual([]);
    expect(outcome).toMatchObject({ blockedWrites: 1 });
    expect(outcome).not.toHaveProperty("toolCalls");
  });

  test.each([
    ["of a generator", () => guardTools({ it: letters() }, { writes: [] }).it.execute("broken")],
    [
      "of an iterable that a plain function gave",
      () => guardTools({ it: { execute: () => letters().execute("broken") } }, { writes: [] }).it.execute(),
    ],
    [
      "of a generator that was promised",
      () => guardTools({ it: { execute: async () => letters().execute("broken") } }, { writes: [] }).it.execute(),
    ],
  ])("has the error %s counted once", async (_what, call) => {
    const { run } = await runtime();
    const outcome = await run(async () => {
      const items = await call();
      await expect(read(items)).rejects.toThrow("broken");
    });
    expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 1 });
  });

  test("in a way of its own stays what it is when it was promised", async () => {
    const { run } = await runtime();
    const stream = new ReadableStream();
    const guarded = guardTools({ it: { execute: async () => stream } }, { writes: [] });
    await run(async () => expect(await guarded.it.execute()).toBe(stream));
  });
});

describe("a guarded tool", () => {
  test("that throws at once is counted once, and so is one that answers with a thenable of its own", async () => {
    const { run } = await runtime();
    const guarded = guardTools(
      {
        thrower: {
          execute: () => {
            throw new Error("at once");
          },
        },
        thenable: {
          execute: () => ({ then: (_: unknown, rejected: (error: Error) => void) => rejected(new Error("later")) }),
        },
      },
      { writes: [] },
    );
    const outcome = await run(async () => {
      expect(() => guarded.thrower.execute()).toThrow("at once");
      await expect(guarded.thenable.execute()).rejects.toThrow("later");
    });
    expect(outcome).toMatchObject({ toolCalls: 2, toolErrors: 2 });
  });

  test("may be frozen, and may keep what it has to itself", async () => {
    const { run } = await runtime();
    class Till {
      readonly #cash: string[] = [];
      async execute(coin: string) {
        this.#cash.push(coin);
        return this.#cash.length;
      }
    }
    const guarded = guardTools({ till: Object.freeze(new Till()) }, { writes: ["till"] });
    expect(guarded.till).toBeInstanceOf(Till);
    await run(async () => {
      expect(await guarded.till.execute("cent")).toBe(1);
      expect(await guarded.till.execute("cent")).toBe(2);
    });
  });

  test("that is guarded twice asks and counts once, and stays a write", async () => {
    const { engage, run } = await runtime();
    const tools = { refund: plain() };
    const asRead = guardTools(tools, { writes: [] });
    const asWrite = guardTools(asRead, { writes: ["refund"] });
    const again = guardTools({ refund: { ...asWrite.refund } }, { writes: [] });
    const outcome = await run(() => again.refund.execute());
    expect(outcome).toMatchObject({ toolCalls: 1, writes: 1 });
    await engage();
    await run(async () => expect(await again.refund.execute()).toBe(WRITE_DENIED));
    expect(tools.refund.execute).toHaveBeenCalledTimes(1);
  });
});
