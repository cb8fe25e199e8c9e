/** Agents that call agents, in one process. */
import { setImmediate } from "node:timers/promises";
import { currentRun, FlagbackProvider, guardTools, WRITE_DENIED, withRun } from "@flagback/provider";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { alias, CANDIDATE, killSwitch, rolledBack, STABLE } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";
import { startToolkit, type ToolkitSetup } from "./toolkit-setup.ts";

let setup: ToolkitSetup;
beforeEach(async () => {
  setup = await startToolkit();
});

const outer = (over: object = {}) => ({ client: setup.client(), agent: "support-agent", ...over });
const inner = { agent: "planner" };

test("a run inside of another asks the same provider, by the same ids and attributes, unless it is told others", async () => {
  const { client } = setup;
  await withRun(outer({ conversationId: "c1", userId: "u1", context: { tenant: "acme" } }), async (run) => {
    await withRun(inner, (nested) => {
      expect(nested).toMatchObject({ agent: "planner", conversationId: "c1", targetingKey: "c1" });
      expect(nested.parentRunId).toBe(run.runId);
      expect(nested.runId).not.toBe(run.runId);
      expect(currentRun()).toBe(nested);
    });
    await withRun({ ...inner, conversationId: "c2", client: client() }, (nested) => {
      expect(nested).toMatchObject({ conversationId: "c2", targetingKey: "c2" });
    });
    expect(currentRun()).toBe(run);
  });
  await withRun(outer({ runId: "r1" }), () =>
    withRun(inner, (nested) => expect(nested).toMatchObject({ targetingKey: "r1", conversationId: undefined })),
  );
});

test("a version that the outer run pinned is kept inside of it, and is announced and reported once, for the outer run", async () => {
  const { server, change, candidateConversation } = setup;
  await withRun(outer({ runId: "outer", conversationId: candidateConversation() }), async (run) => {
    expect(await run.pin("support-agent", STABLE)).toBe(CANDIDATE);
    await change(rolledBack("finish"));
    await withRun({ ...inner, runId: "inner" }, async (nested) => {
      expect(await nested.pin("support-agent", "other")).toBe(CANDIDATE);
      // Two deep, and by a version of its own beside it.
      await withRun({ agent: "writer", runId: "innermost" }, async (third) => {
        expect(await third.pin("support-agent", "other")).toBe(CANDIDATE);
      });
      await nested.pin("planner", STABLE);
      throw new RangeError("the planner failed");
    }).catch(() => "the outer run goes on");
  });
  await server.until(() => server.outcomes.length === 2);
  const reported = server.outcomes.map(({ alias: name, runId, status }) => [name, runId, status]);
  expect(reported).toEqual([
    ["planner", "inner", "failure"],
    ["support-agent", "outer", "success"],
  ]);
  const assigned = server.batches.flatMap((batch) => batch.assigned);
  expect(assigned.map(({ alias: name, n }) => [name, n]).sort()).toEqual([
    ["planner", 1],
    ["support-agent", 1],
  ]);
});

test("a version that the outer run pins while the inner one runs is the inner one's as well", async () => {
  await withRun(outer({ conversationId: "c1" }), async (run) => {
    await withRun(inner, async (nested) => {
      const version = await run.pin("planner", STABLE);
      expect(nested.pinned("planner", "other")).toBe(run.pinned("planner", "other"));
      expect(await nested.pin("planner", "other")).toBe(version);
    });
  });
});

test("the outer run's fallback is the inner run's as well", async () => {
  await withRun(outer(), async (run) => {
    await run.pin("unknown", "unknown@1");
    await withRun(inner, async (nested) => expect(await nested.pin("unknown", "unknown@2")).toBe("unknown@1"));
  });
});

test("an abort of the outer run aborts those inside of it, and their own agents are not to blame", async () => {
  const { server, change, candidateConversation } = setup;
  const reasons: unknown[] = [];
  const running = withRun(outer({ conversationId: candidateConversation() }), async (run) => {
    await run.pin("support-agent", STABLE);
    await withRun({ agent: "planner", context: {} }, async (nested) => {
      await nested.pin("planner", STABLE);
      await change(rolledBack("abort"));
      reasons.push(run.signal.reason, nested.signal.reason);
      // A run that begins in an aborted one is aborted as well.
      await withRun({ agent: "writer" }, (third) => {
        reasons.push(third.signal.reason);
        third.signal.throwIfAborted();
      });
    });
  });
  await expect(running).rejects.toMatchObject({ name: "AbortError" });
  expect(reasons[0]).toMatchObject({ name: "AbortError" });
  expect(new Set(reasons).size).toBe(1);
  await server.until(() => server.outcomes.length === 2);
  for (const outcome of server.outcomes) expect(outcome).toMatchObject({ status: "cancelled", errorOrigin: "policy" });
});

test("a version that is revoked under the inner run alone leaves the outer one", async () => {
  const { change, candidateConversation } = setup;
  await withRun(outer(), async (run) => {
    await withRun({ ...inner, conversationId: candidateConversation("planner") }, async (nested) => {
      expect(await nested.pin("planner", STABLE)).toBe(CANDIDATE);
      await change({ ...rolledBack("abort"), key: "planner", salt: "planner" });
      expect([nested.signal.aborted, run.signal.aborted]).toEqual([true, false]);
      expect([nested.writesAllowed(), run.writesAllowed()]).toEqual([false, true]);
    });
  });
});

test("an inner run may not write while the outer run's version is revoked, or its agent's writes are stopped", async () => {
  const { change, candidateConversation } = setup;
  await withRun(outer({ conversationId: candidateConversation() }), async (run) => {
    await run.pin("support-agent", STABLE);
    await withRun(inner, async (nested) => {
      expect(nested.writesAllowed()).toBe(true);
      await change(killSwitch("agent=other"));
      expect(nested.writesAllowed()).toBe(true);
      await change(killSwitch("agent=support-agent"));
      expect(nested.writesAllowed()).toBe(false);
      await change(killSwitch());
      expect(nested.writesAllowed()).toBe(true);
      await change(rolledBack("block_writes"));
      expect(nested.writesAllowed()).toBe(false);
    });
  });
});

test("an inner run is stopped by a switch for an attribute of the outer one", async () => {
  await withRun(outer({ context: { tenant: "acme" } }), async () => {
    await setup.change(killSwitch("tenant=globex"));
    await withRun(inner, (nested) => expect(nested.writesAllowed()).toBe(true));
    await setup.change(killSwitch("tenant=acme"));
    await withRun(inner, (nested) => expect(nested.writesAllowed()).toBe(false));
    await withRun({ ...inner, context: { tenant: "globex" } }, (nested) => expect(nested.writesAllowed()).toBe(true));
  });
});

test("a write that is blocked in an inner run keeps the outer one out of health as well", async () => {
  const { server, change } = setup;
  await change(killSwitch("agent=planner"));
  const tools = guardTools({ refund: { execute: async () => "refunded" } }, { writes: ["refund"] });
  await withRun(outer(), async (run) => {
    await run.pin("support-agent", STABLE);
    await withRun(inner, async (nested) => {
      await nested.pin("planner", STABLE);
      expect(await tools.refund.execute()).toBe(WRITE_DENIED);
    });
    expect(await tools.refund.execute()).toBe("refunded");
  });
  await server.until(() => server.outcomes.length === 2);
  const counted = server.outcomes.map(({ alias: name, writes, blockedWrites }) => [name, writes, blockedWrites]);
  expect(counted).toEqual([
    ["planner", undefined, 1],
    ["support-agent", 1, 1],
  ]);
});

test("a run that outlives the one around it keeps what it pinned there, and is still stopped with it", async () => {
  const { change, candidateConversation } = setup;
  let left: Promise<void> = Promise.resolve();
  await withRun(outer({ conversationId: candidateConversation() }), async (run) => {
    await run.pin("support-agent", STABLE);
    left = withRun(inner, async (nested) => {
      await setImmediate();
      expect(await nested.pin("support-agent", "other")).toBe(CANDIDATE);
      expect(nested.writesAllowed()).toBe(true);
      await change(rolledBack("abort"));
      expect(nested.signal.aborted).toBe(true);
      expect(nested.writesAllowed()).toBe(false);
    });
  });
  await left;
});

test("with inherit false a run inside of another is a run of its own", async () => {
  const { client, change, candidateConversation } = setup;
  await withRun(outer({ conversationId: candidateConversation(), context: { tenant: "acme" } }), async (run) => {
    await run.pin("support-agent", STABLE);
    await change(rolledBack("abort"));
    await withRun({ client: client(), agent: "support-agent", inherit: false }, async (own) => {
      expect(own).toMatchObject({ parentRunId: undefined, conversationId: undefined, targetingKey: own.runId });
      expect(own.signal.aborted).toBe(false);
      expect(await own.pin("support-agent", "other")).toBe(STABLE);
    });
  });
});

test("an inner run on another provider takes no version from the outer one, but its abort", async () => {
  const elsewhere = await new FakeServer().start();
  elsewhere.hold(alias({ allocation: [{ version: STABLE, weight: 100_000 }], rollout: null }), killSwitch());
  const other = new FlagbackProvider({ url: elsewhere.url, token: TOKEN });
  await other.initialize();
  onTestFinished(async () => {
    await other.onClose();
    await elsewhere.stop();
  });
  await withRun(outer({ conversationId: setup.candidateConversation() }), async (run) => {
    expect(await run.pin("support-agent", "none")).toBe(CANDIDATE);
    await withRun({ agent: "planner", provider: other }, async (nested) => {
      expect(await nested.pin("support-agent", "none")).toBe(STABLE);
      await setup.change(rolledBack("abort"));
      expect(nested.signal.aborted).toBe(true);
    });
  });
});
