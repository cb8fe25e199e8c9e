import { setImmediate } from "node:timers/promises";
import { currentRun, FlagbackProvider, guardTools, type Run, WRITE_DENIED, withRun } from "@flagback/provider";
import { InMemoryProvider, MultiProvider, OpenFeature } from "@openfeature/server-sdk";
import { beforeEach, describe, expect, test } from "vitest";
import { alias, CANDIDATE, killSwitch, rolledBack, STABLE } from "./documents.ts";
import { type FakeServer, TOKEN } from "./fake-server.ts";
import { startToolkit, type ToolkitSetup } from "./toolkit-setup.ts";

let server: FakeServer;
let provider: FlagbackProvider;
let client: ToolkitSetup["client"];
let change: ToolkitSetup["change"];
let candidateConversation: ToolkitSetup["candidateConversation"];

beforeEach(async () => {
  ({ server, provider, client, change, candidateConversation } = await startToolkit());
});

function fail(): never {
  throw new Error("looked at");
}

const options = (over: object = {}) => ({ client: client(), agent: "support-agent", ...over });

describe("a run", () => {
  test("pins its version once and keeps it through a rollback", async () => {
    const conversationId = candidateConversation();
    await withRun(options({ conversationId }), async (run) => {
      expect(await run.pin("support-agent", STABLE)).toBe(CANDIDATE);
      await change(rolledBack("finish"));
      expect(await run.pin("support-agent", STABLE)).toBe(CANDIDATE);
    });
    await withRun(options({ conversationId }), async (run) => {
      expect(await run.pin("support-agent", "other")).toBe(STABLE);
    });
  });

  test("gets the payload of the version that it pinned", async () => {
    const conversationId = candidateConversation();
    await withRun(options({ conversationId }), async (run) => {
      expect(await run.pinned("support-agent", STABLE)).toEqual({
        alias: "support-agent",
        version: CANDIDATE,
        payload: { prompt: "new" },
        role: "candidate",
        stage: "validation",
        reason: "SPLIT",
        revision: 1,
        isDefault: false,
      });
    });
  });

  test("is announced while it is under way, and its outcome names that batch", async () => {
    let runId = "";
    await withRun(options({ conversationId: "c1" }), async (run) => {
      runId = run.runId;
      await run.pin("support-agent", STABLE);
      await server.until(() => server.batches.length === 1);
      expect(server.batches[0]).toMatchObject({ seq: 1, assigned: [{ alias: "support-agent", n: 1 }], items: [] });
    });
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({
      runId,
      alias: "support-agent",
      status: "success",
      conversationId: "c1",
      assignedSeq: 1,
    });
    expect(server.outcomes[0]?.durationMs).toBeGreaterThan(0);
    expect(server.batches.flatMap((batch) => batch.assigned)).toHaveLength(1);
  });

  test("that hangs is reported as overdue while it is open, once for each latency limit of its alias", async () => {
    // Out of order, twice and impossible, as only a faulty server sends them.
    await change(alias({ revision: 2, latencyLimitsMs: [20, 10, 20, 0, -1] }));
    const overdue = () => server.batches.flatMap((batch) => batch.overdue ?? []);
    await withRun(options({ conversationId: candidateConversation() }), async (run) => {
      await run.pin("support-agent", STABLE);
      await run.pin("planner", STABLE);
      await server.until(() => overdue().length === 2);
      expect(server.outcomes).toEqual([]);
    });
    await server.until(() => server.outcomes.length === 2);
    const said = { alias: "support-agent", version: CANDIDATE, assignedSeq: 1, n: 1 };
    expect(overdue()).toEqual([
      { ...said, limitMs: 10 },
      { ...said, limitMs: 20 },
    ]);
    const named = server.outcomes.map((outcome) => [outcome.alias, outcome.overdueLimitsMs]);
    expect(named).toEqual([
      ["support-agent", [10, 20]],
      ["planner", undefined],
    ]);
  });

  test("that throws is a failure with the error's name, and the error goes on", async () => {
    const error = new RangeError("too far");
    const failing = withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      throw error;
    });
    await expect(failing).rejects.toBe(error);
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ status: "failure", errorType: "RangeError" });
  });

  test.each<[string, () => unknown, string]>([
    ["an error without a name", () => Object.assign(new Error("mine"), { name: undefined }), "Error"],
    [
      "an error whose name throws",
      () => Object.defineProperty(new Error("mine"), "name", { get: () => fail() }),
      "unreadable",
    ],
    [
      "a proxy that throws whatever is asked",
      () => new Proxy({}, { get: fail, getPrototypeOf: fail, has: fail }),
      "unreadable",
    ],
    ["null", () => null, "null"],
    ["undefined", () => undefined, "undefined"],
    ["a text", () => "mine", "string"],
  ])("that throws %s throws it on as it is, and is reported", async (_what, make, errorType) => {
    const thrown = make();
    const caught = await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      throw thrown;
    }).then(
      () => "nothing was thrown",
      (error: unknown) => [error],
    );
    // Compared by identity: an assertion that prints the proxy would be thrown at.
    expect(Array.isArray(caught) && Object.is(caught[0], thrown)).toBe(true);
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ status: "failure", errorType });
  });

  test.each<[string, unknown]>([
    ["too long", "x".repeat(129)],
    ["empty", ""],
    ["no text", 7],
  ])("whose run id is %s gets a random one", async (_what, runId) => {
    await withRun(options({ runId }), async (run) => {
      await run.pin("support-agent", STABLE);
      expect(run.runId).toMatch(/^[0-9a-f-]{36}$/);
    });
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]?.runId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("under the run id of an earlier run is a run of its own, as a retried job's is", async () => {
    for (const attempt of [1, 2, 3]) {
      await withRun(options({ runId: "job-1" }), async (run) => {
        await run.pin("support-agent", STABLE);
        await run.pin("planner", STABLE);
        run.report({ status: "success", toolCalls: attempt });
      });
    }
    await server.until(() => server.outcomes.length === 6);
    const ids = server.outcomes.map(({ alias: name, runId }) => `${name} ${runId}`);
    expect(new Set(ids).size).toBe(6);
    expect(ids.slice(0, 2)).toEqual(["support-agent job-1", "planner job-1"]);
    for (const { runId } of server.outcomes.slice(2)) expect(runId).toMatch(/^job-1#[0-9a-f]{8}$/);
  });

  test.each<[string, unknown]>([
    ["of an unknown status", { status: "great" }],
    ["of nothing", null],
    ["whose status throws", Object.defineProperty({}, "status", { get: () => fail(), enumerable: true })],
    ["that is a proxy which throws", new Proxy({}, { ownKeys: () => fail() })],
  ])("with a report %s is settled as one that says nothing about its version", async (_what, report) => {
    await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      run.report(report as never);
    });
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ status: "cancelled", errorOrigin: "client", assignedSeq: 1 });
    expect(provider.outcomeStatistics).toMatchObject({ repaired: 1, dropped: { invalid: 0 } });
  });

  test("is reported once, as its own code said, for every alias that it pinned", async () => {
    await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      await run.pin("planner", STABLE);
      run.report({ status: "escalated", quality: 0.5 });
      run.report({ status: "success" });
    });
    await server.until(() => server.outcomes.length === 2);
    expect(server.outcomes.map(({ alias: name, status, quality }) => [name, status, quality])).toEqual([
      ["support-agent", "escalated", 0.5],
      ["planner", "escalated", 0.5],
    ]);
  });

  test("that got the caller's default says so", async () => {
    await withRun(options(), async (run) => {
      expect(await run.pin("unknown-agent", "unknown-agent@1.0.0")).toBe("unknown-agent@1.0.0");
    });
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ version: "unknown-agent@1.0.0", isDefault: true, assignedSeq: 1 });
  });

  test("that pins a flag which is no alias accounts for nothing", async () => {
    await withRun(options(), async (run) => {
      expect(await run.pin("greeting", "hello")).toBe("hi");
    });
    await provider.onClose();
    expect(server.batches).toEqual([]);
  });

  test("that is open when the provider closes is reported as cancelled, and not again", async () => {
    await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      await provider.onClose();
      expect(run.writesAllowed()).toBe(false);
    });
    expect(server.outcomes.map((outcome) => outcome.status)).toEqual(["cancelled"]);
  });

  test("is found from anywhere below it, and nowhere else", async () => {
    const seen: (Run | undefined)[] = [];
    await Promise.all(
      ["a", "b"].map((runId) =>
        withRun(options({ runId }), async (run) => {
          await setImmediate();
          seen.push(currentRun());
          expect(currentRun()).toBe(run);
        }),
      ),
    );
    expect(seen.map((run) => run?.runId).sort()).toEqual(["a", "b"]);
    expect(currentRun()).toBeUndefined();
  });

  test("with the provider in place of a client works the same", async () => {
    await withRun({ provider, agent: "support-agent", userId: "u1" }, async (run) => {
      expect(run.targetingKey).toBe("u1");
      expect([STABLE, CANDIDATE]).toContain(await run.pin("support-agent", "x"));
      expect(run.writesAllowed()).toBe(true);
    });
  });

  test("finds its provider inside a MultiProvider", async () => {
    const inner = new FlagbackProvider({ url: server.url, token: TOKEN });
    await OpenFeature.setProviderAndWait("many", new MultiProvider([{ provider: inner }]));
    await withRun({ client: OpenFeature.getClient("many"), agent: "support-agent" }, async (run) => {
      expect(run.writesAllowed()).toBe(true);
    });
  });

  test("on a client of somebody else's provider gets its fallback and may not write", async () => {
    await OpenFeature.setProviderAndWait("nobody", new InMemoryProvider());
    await withRun({ client: OpenFeature.getClient("nobody"), agent: "support-agent" }, async (run) => {
      expect(await run.pin("support-agent", STABLE)).toBe(STABLE);
      expect(run.writesAllowed()).toBe(false);
    });
  });
});

describe("a version that is revoked under a run", () => {
  test("with abort aborts its signal, and the run ends as cancelled by policy", async () => {
    const running = withRun(options({ conversationId: candidateConversation() }), async (run) => {
      await run.pin("support-agent", STABLE);
      await change(rolledBack("abort"));
      expect(run.writesAllowed()).toBe(false);
      run.signal.throwIfAborted();
    });
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ status: "cancelled", errorOrigin: "policy" });
  });

  test("with block_writes lets it read on and blocks its writes", async () => {
    await withRun(options({ conversationId: candidateConversation() }), async (run) => {
      await run.pin("support-agent", STABLE);
      await change(rolledBack("block_writes"));
      expect(run.signal.aborted).toBe(false);
      expect(run.writesAllowed()).toBe(false);
    });
  });

  test("with finish leaves it to the kill switch", async () => {
    await withRun(options({ conversationId: candidateConversation() }), async (run) => {
      await run.pin("support-agent", STABLE);
      await change(rolledBack("finish"));
      expect(run.writesAllowed()).toBe(true);
    });
  });
});

describe("guarded tools", () => {
  function shop() {
    const done: string[] = [];
    const tools = {
      search: { description: "finds", execute: async (query: string) => `found ${query}` },
      refund: {
        description: "pays back",
        execute: async (id: string) => {
          done.push(id);
          return `refunded ${id}`;
        },
      },
      broken: {
        execute: async () => {
          throw new Error("tool failed");
        },
      },
      remote: { description: "runs at the client" },
    };
    return { done, tools, guarded: guardTools(tools, { writes: ["refund"] }) };
  }

  test("run, and count for the run's outcome", async () => {
    const { guarded, done } = shop();
    await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      expect(await guarded.search.execute("x")).toBe("found x");
      expect(await guarded.refund.execute("7")).toBe("refunded 7");
      await expect(guarded.broken.execute()).rejects.toThrow("tool failed");
    });
    await server.until(() => server.outcomes.length === 1);
    expect(done).toEqual(["7"]);
    expect(server.outcomes[0]).toMatchObject({ toolCalls: 3, toolErrors: 1, writes: 1 });
  });

  test("ask the switch right before each write: one engaged in mid-run stops the next write, and only writes", async () => {
    const { guarded, done } = shop();
    await withRun(options(), async (run) => {
      await run.pin("support-agent", STABLE);
      await guarded.refund.execute("1");
      await change(killSwitch("agent=support-agent"));
      expect(await guarded.refund.execute("2")).toBe(WRITE_DENIED);
      expect(await guarded.search.execute("y")).toBe("found y");
    });
    await server.until(() => server.outcomes.length === 1);
    expect(done).toEqual(["1"]);
    expect(server.outcomes[0]).toMatchObject({ writes: 1, blockedWrites: 1, toolCalls: 2, toolErrors: 0 });
  });

  test("are stopped by a switch for their own name and not by one for another's", async () => {
    const { guarded } = shop();
    await change(killSwitch("tool=refund"));
    await withRun(options(), async () => expect(await guarded.refund.execute("1")).toBe(WRITE_DENIED));
    await change(killSwitch("tool=delete"));
    await withRun(options(), async () => expect(await guarded.refund.execute("1")).toBe("refunded 1"));
    await change(killSwitch("agent=other"));
    await withRun(options(), async () => expect(await guarded.refund.execute("2")).toBe("refunded 2"));
  });

  test("deny writes outside of a run, and let reads through", async () => {
    const { guarded, done } = shop();
    expect(await guarded.refund.execute("1")).toBe(WRITE_DENIED);
    expect(await guarded.search.execute("x")).toBe("found x");
    expect(done).toEqual([]);
  });

  test("keep everything else of a tool, and the tools themselves as they were", () => {
    const { guarded, tools } = shop();
    expect(guarded.refund.description).toBe("pays back");
    expect(guarded.remote).toBe(tools.remote);
    expect(guarded.refund.execute).not.toBe(tools.refund.execute);
  });

  test("refuse a write that has nothing to wrap, when they are set up", () => {
    const { tools } = shop();
    expect(() => guardTools(tools, { writes: ["remote"] })).toThrow("has no execute");
  });
});
