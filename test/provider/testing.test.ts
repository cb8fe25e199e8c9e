import { guardTools, WRITE_DENIED, withRun } from "@flagback/provider";
import { TestProvider } from "@flagback/provider/testing";
import { FlagbackError } from "@flagback/schemas";
import { OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";

const STABLE = "support-agent@1";
const CANDIDATE = "support-agent@2";
const ROLLOUT = { aliases: { "support-agent": { stable: STABLE, candidate: CANDIDATE } } } as const;

afterEach(async () => {
  await OpenFeature.clearProviders();
});

/** What a call throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("what a test says there is", () => {
  test("is answered through OpenFeature: a version, its payload, switches and flags of every type", async () => {
    const flags = new TestProvider({
      aliases: {
        "support-agent": { stable: STABLE, payloads: { [STABLE]: { prompt: "Be helpful." } } },
        planner: "planner@1",
      },
      killSwitches: ["refunds_disabled"],
      flags: { "dark-mode": true, greeting: "Hi", "max-steps": 4, tone: { warmth: 1 } },
    });
    await OpenFeature.setProviderAndWait("all", flags);
    const client = OpenFeature.getClient("all");

    expect(await client.getStringValue("support-agent", "")).toBe(STABLE);
    expect(await client.getObjectValue("support-agent", {})).toEqual({ prompt: "Be helpful." });
    expect(await client.getStringValue("planner", "")).toBe("planner@1");
    expect(await client.getBooleanValue("writes_disabled", true)).toBe(false);
    expect(await client.getBooleanValue("refunds_disabled", true)).toBe(false);
    expect(await client.getBooleanValue("dark-mode", false)).toBe(true);
    expect(await client.getStringValue("greeting", "")).toBe("Hi");
    expect(await client.getNumberValue("max-steps", 0)).toBe(4);
    expect(await client.getObjectValue("tone", {})).toEqual({ warmth: 1 });
  });

  test("may have rules, in flagd's format", async () => {
    const flags = new TestProvider({
      definitions: {
        "beta-tools": {
          state: "ENABLED",
          variants: { on: true, off: false },
          defaultVariant: "off",
          targeting: { if: [{ "===": [{ var: "tenant" }, "acme"] }, "on"] },
        },
      },
    });
    expect((await flags.resolveBooleanEvaluation("beta-tools", false, { tenant: "acme" })).value).toBe(true);
    expect((await flags.resolveBooleanEvaluation("beta-tools", true, { tenant: "other" })).value).toBe(false);
  });

  test("gives a candidate every key unless it says how many, and none without one", () => {
    const flags = new TestProvider(ROLLOUT);
    expect(flags.version("support-agent", "user-1")).toBe(CANDIDATE);
    expect(flags.version("support-agent")).toBe(STABLE);
    flags.set({ aliases: { "support-agent": { stable: STABLE, candidate: CANDIDATE, percent: 0 } } });
    expect(flags.version("support-agent", "user-1")).toBe(STABLE);
  });

  test("moves no key back to stable while a candidate's share grows", () => {
    const keys = Array.from({ length: 50 }, (_, i) => `user-${i}`);
    const share = fc.integer({ min: 0, max: 100_000 }).map((weight) => weight / 1_000);
    fc.assert(
      fc.property(share, share, (one, other) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)].map(
          (percent) =>
            new TestProvider({ aliases: { "support-agent": { stable: STABLE, candidate: CANDIDATE, percent } } }),
        );
        const served = (flags: TestProvider | undefined) =>
          keys.filter((key) => flags?.version("support-agent", key) === CANDIDATE);
        expect(served(more)).toEqual(expect.arrayContaining(served(less)));
      }),
      { numRuns: 30 },
    );
  });

  test("is added to by set, which leaves alone what it does not name", () => {
    const flags = new TestProvider(ROLLOUT);
    flags.engage("writes_disabled");
    flags.set({ aliases: { planner: "planner@1" }, killSwitches: ["writes_disabled", "refunds_disabled"] });
    expect(flags.version("support-agent", "user-1")).toBe(CANDIDATE);
    expect(flags.version("planner")).toBe("planner@1");
    expect(flags.writesAllowed()).toBe(false);
  });

  test("stays the test's own object: nobody freezes it, and changing it later changes nothing", async () => {
    const tone = { warmth: 1 };
    const flags = new TestProvider({ flags: { tone } });
    await flags.resolveObjectEvaluation("tone", {}, {});
    tone.warmth = 2;
    expect((await flags.resolveObjectEvaluation("tone", {}, {})).value).toEqual({ warmth: 1 });
  });

  test("is refused as a whole, naming every problem, where no server would have it", () => {
    const flags = new TestProvider(ROLLOUT);
    const refused = thrownBy(() =>
      flags.set({
        aliases: {
          same: { stable: "a@1", candidate: "a@1" },
          much: { stable: "a@1", candidate: "a@2", percent: 101 },
          alone: { stable: "a@1", percent: 5, payloads: { "a@3": {} } },
          "no name": "a@1",
        },
        flags: { "support-agent": 1, twice: 1 },
        definitions: { twice: { state: "ENABLED", variants: {} } },
      }),
    );
    expect(refused).toBeInstanceOf(FlagbackError);
    expect(refused).toMatchObject({
      code: "usage",
      problems: [
        "same: the candidate is the stable version; a rollout needs two",
        "much: percent is 101, not 0 to 100 with at most three decimals",
        "alone: percent says what a candidate gets, and there is none",
        "alone: payloads names a@3, which is neither stable nor the candidate",
        expect.stringContaining("no name: key: use letters"),
        "support-agent is there already; each key is one flag to OpenFeature",
        "twice is there already; each key is one flag to OpenFeature",
        expect.stringContaining("a flag needs a variant"),
      ],
    });
    expect(flags.revision).toBe(1);
    expect(flags.version("alone")).toBeNull();
  });
});

describe("before anything was set", () => {
  test("reads answer with the caller's default and its reason, and writes are denied", async () => {
    const flags = new TestProvider();
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(false);
    expect(flags.version("support-agent", "user-1")).toBeNull();
    expect(await flags.resolveBooleanEvaluation("writes_disabled", true, {})).toMatchObject({
      value: true,
      errorCode: "PROVIDER_NOT_READY",
    });
    await withRun({ provider: flags, agent: "support-agent" }, async (run) => {
      expect(await run.pinned("support-agent", "fallback@1")).toMatchObject({ version: "fallback@1", isDefault: true });
      expect(run.writesAllowed()).toBe(false);
    });
    expect(flags.outcomes()).toMatchObject([{ version: "fallback@1", isDefault: true }]);
  });

  test("OpenFeature says ERROR, and READY once something is set", async () => {
    const flags = new TestProvider();
    await expect(OpenFeature.setProviderAndWait("late", flags)).rejects.toThrow("nothing to answer with");
    const client = OpenFeature.getClient("late");
    expect(client.providerStatus).toBe(ProviderStatus.ERROR);
    flags.set(ROLLOUT);
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    expect(await client.getStringValue("support-agent", "", { targetingKey: "user-1" })).toBe(CANDIDATE);
  });
});

describe("a change", () => {
  test("is told to OpenFeature with the keys that are different, and at once", async () => {
    const flags = new TestProvider(ROLLOUT);
    await OpenFeature.setProviderAndWait("told", flags);
    const client = OpenFeature.getClient("told");
    const told: unknown[] = [];
    client.addHandler(ProviderEvents.ConfigurationChanged, (details) => told.push(details?.flagsChanged));

    flags.set({ flags: { greeting: "Hi", tone: "calm" } });
    flags.set({ flags: { greeting: "Hi", tone: "loud" } });
    flags.engage("writes_disabled", "agent=support-agent");
    flags.rollBack("support-agent");
    expect(told).toEqual([["greeting", "tone"], ["tone"], ["writes_disabled"], ["support-agent", "writes_disabled"]]);
    expect(flags.revision).toBe(5);
  });

  test("that changes nothing is none: no event, no revision", async () => {
    const flags = new TestProvider(ROLLOUT);
    await OpenFeature.setProviderAndWait("same", flags);
    let events = 0;
    OpenFeature.getClient("same").addHandler(ProviderEvents.ConfigurationChanged, () => {
      events += 1;
    });
    flags.set(ROLLOUT);
    flags.release("writes_disabled");
    flags.engage("writes_disabled");
    flags.engage("writes_disabled");
    flags.rollBack("support-agent");
    flags.rollBack("support-agent");
    expect(events).toBe(2);
    expect(flags.revision).toBe(3);
  });

  test("of what is not there is refused, with what is", () => {
    const flags = new TestProvider({ aliases: { planner: "planner@1" }, killSwitches: ["refunds_disabled"] });
    expect(thrownBy(() => flags.engage("refund_disabled"))).toMatchObject({
      code: "kill_switch_not_found",
      hint: "What the test set: writes_disabled, refunds_disabled.",
    });
    expect(thrownBy(() => flags.release("nothing"))).toMatchObject({ code: "kill_switch_not_found" });
    expect(thrownBy(() => flags.rollBack("plan"))).toMatchObject({ code: "alias_not_found" });
    expect(thrownBy(() => flags.rollBack("planner"))).toMatchObject({ code: "rollout_not_active" });
    expect(thrownBy(() => flags.engage("writes_disabled", "agent"))).toMatchObject({ code: "usage" });
    expect(flags.revision).toBe(1);
  });
});

describe("a kill switch", () => {
  test("engages for its scope alone, and is released for exactly that scope", () => {
    const flags = new TestProvider(ROLLOUT);
    flags.engage("writes_disabled", "agent=planner");
    expect(flags.writesAllowed({ agent: "planner" })).toBe(false);
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(true);
    expect(flags.writesAllowed()).toBe(false);
    flags.release("writes_disabled");
    expect(flags.writesAllowed({ agent: "planner" })).toBe(false);
    flags.release("writes_disabled", "agent=planner");
    expect(flags.writesAllowed({ agent: "planner" })).toBe(true);
  });

  test("may be another one than writes_disabled", () => {
    const flags = new TestProvider({ killSwitches: ["refunds_disabled"] }, { writeSwitch: "refunds_disabled" });
    flags.engage("writes_disabled");
    expect(flags.writesAllowed()).toBe(true);
    flags.engage("refunds_disabled");
    expect(flags.writesAllowed()).toBe(false);
  });

  test("keeps a guarded tool from running, and tells the model so", async () => {
    const flags = new TestProvider(ROLLOUT);
    const refunds: string[] = [];
    const tools = guardTools(
      { refund: { execute: (order: string) => refunds.push(order) }, look: { execute: () => "seen" } },
      { writes: ["refund"] },
    );
    await withRun({ provider: flags, agent: "support-agent" }, async (run) => {
      await run.pin("support-agent", STABLE);
      tools.refund.execute("first");
      flags.engage("writes_disabled", "tool=refund");
      expect(tools.refund.execute("second")).toBe(WRITE_DENIED);
      expect(tools.look.execute()).toBe("seen");
    });
    expect(refunds).toEqual(["first"]);
    expect(flags.outcomes()).toMatchObject([{ status: "success", toolCalls: 2, writes: 1, blockedWrites: 1 }]);
  });
});

describe("rollBack", () => {
  test("gives the candidate's keys to stable, engages writes_disabled for the agent, and no other", () => {
    const flags = new TestProvider({ aliases: { ...ROLLOUT.aliases, planner: "planner@1" } });
    flags.rollBack("support-agent");
    expect(flags.version("support-agent", "user-1")).toBe(STABLE);
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(false);
    expect(flags.writesAllowed({ agent: "planner" })).toBe(true);
  });

  test("lets a run in flight keep its version and takes its writes", async () => {
    const flags = new TestProvider(ROLLOUT);
    await withRun({ provider: flags, agent: "support-agent" }, async (run) => {
      expect(await run.pin("support-agent", STABLE)).toBe(CANDIDATE);
      expect(run.writesAllowed()).toBe(true);
      flags.rollBack("support-agent", { engage: [] });
      expect(await run.pin("support-agent", STABLE)).toBe(CANDIDATE);
      expect(run.writesAllowed()).toBe(false);
      expect(run.signal.aborted).toBe(false);
    });
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(true);
  });

  test("aborts a run in flight where the policy says so, and lets it finish where it says that", async () => {
    for (const [revoke, aborted, mayWrite] of [
      ["abort", true, false],
      ["finish", false, true],
    ] as const) {
      const flags = new TestProvider(ROLLOUT);
      await withRun({ provider: flags, agent: "support-agent" }, async (run) => {
        await run.pin("support-agent", STABLE);
        flags.rollBack("support-agent", { revoke, engage: [] });
        expect([run.signal.aborted, run.writesAllowed()]).toEqual([aborted, mayWrite]);
      });
    }
  });

  test("is over when the test sets a new candidate", () => {
    const flags = new TestProvider(ROLLOUT);
    flags.rollBack("support-agent", { scope: "*" });
    flags.set({ aliases: { "support-agent": { stable: STABLE, candidate: "support-agent@3" } } });
    expect(flags.version("support-agent", "user-1")).toBe("support-agent@3");
    expect(flags.writesAllowed({ agent: "planner" })).toBe(false);
    flags.release("writes_disabled");
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(true);
  });
});

describe("an outage", () => {
  test("is STALE at once, serves stable and stops writes, until it is over", async () => {
    const flags = new TestProvider(ROLLOUT);
    await OpenFeature.setProviderAndWait("outage", flags);
    const client = OpenFeature.getClient("outage");
    const details = () => client.getStringDetails("support-agent", "", { targetingKey: "user-1" });

    flags.disconnect();
    expect(client.providerStatus).toBe(ProviderStatus.STALE);
    expect(await details()).toMatchObject({ value: STABLE, reason: "STALE" });
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(false);

    flags.reconnect();
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    expect(await details()).toMatchObject({ value: CANDIDATE, reason: "STATIC" });
    expect(flags.writesAllowed({ agent: "support-agent" })).toBe(true);
  });
});
