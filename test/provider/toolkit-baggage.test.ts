/** Agents that call agents, across processes: what is said in a header, and what is made of it. */
import { type Run, withRun } from "@flagback/provider";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { alias, CANDIDATE, killSwitch, rolledBack, STABLE } from "./documents.ts";
import { startToolkit, type ToolkitSetup } from "./toolkit-setup.ts";

let setup: ToolkitSetup;
beforeEach(async () => {
  setup = await startToolkit();
});

const calling = (over: object = {}) => ({ client: setup.client(), agent: "support-agent", ...over });
const called = (over: object = {}) => ({ client: setup.client(), agent: "planner", ...over });

/** What a run says of itself once it has pinned its candidate. */
async function baggageOf(over: object = {}): Promise<string> {
  return withRun(calling({ conversationId: setup.candidateConversation(), runId: "r-1", ...over }), async (run) => {
    await run.pin("support-agent", STABLE);
    return run.baggage();
  });
}

test("a run says its ids, agents, pins and attributes, each as a member that a person can read", async () => {
  const baggage = await baggageOf({
    context: { tenant: "acme inc", age: 7, vip: true, nested: { secret: 1 }, "no token": "x" },
  });
  expect(baggage.split(",")).toEqual([
    "flagback.run=r-1",
    "flagback.agents=support-agent",
    `flagback.conversation=${setup.candidateConversation()}`,
    "flagback.pin.support-agent=support-agent%402.4.0;revision=1",
    "flagback.scope.tenant=acme%20inc",
    "flagback.scope.age=7",
    "flagback.scope.vip=true",
  ]);
});

test("a run that is called with it is part of that run: ids, versions and attributes", async () => {
  const { server, provider } = setup;
  const baggage = await baggageOf({ context: { tenant: "acme" } });
  await server.until(() => server.outcomes.length === 1);
  await withRun(called({ baggage }), async (run) => {
    expect(run).toMatchObject({
      parentRunId: "r-1",
      conversationId: setup.candidateConversation(),
      targetingKey: setup.candidateConversation(),
    });
    expect(await run.pinned("support-agent", "other")).toMatchObject({
      version: CANDIDATE,
      payload: { prompt: "new" },
      role: "candidate",
      stage: "validation",
      reason: "TARGETING_MATCH",
      isDefault: false,
    });
    await run.pin("planner", STABLE);
  });
  await provider.onClose();
  // The inherited version is the calling run's to account for.
  expect(server.outcomes.map((outcome) => outcome.alias)).toEqual(["support-agent", "planner"]);
  expect(server.batches.flatMap((batch) => batch.assigned)).toHaveLength(2);
});

test("a called run may not write while a switch stops an agent or an attribute of the run that calls it", async () => {
  const baggage = await baggageOf({ context: { tenant: "acme" } });
  const passedOn = await withRun(called({ baggage }), (run) => run.baggage());
  expect(passedOn).toContain("flagback.agents=support-agent%2Fplanner");
  const mayWrite = () => withRun(called({ agent: "writer", baggage: passedOn }), (run) => run.writesAllowed());
  for (const scope of ["agent=support-agent", "agent=planner", "agent=writer", "tenant=acme"]) {
    await setup.change(killSwitch(scope));
    expect([scope, await mayWrite()]).toEqual([scope, false]);
  }
  await setup.change(killSwitch("agent=other", "tenant=globex"));
  expect(await mayWrite()).toBe(true);
});

describe("a version that was withdrawn meanwhile", () => {
  test.each(["finish", "block_writes", "abort"] as const)(
    "by a rollback (%s) is not revived, and what is revoked for the calling run is for the called one",
    async (revoke) => {
      const { server, provider, change } = setup;
      const baggage = await baggageOf();
      await change(rolledBack(revoke));
      const ended = withRun(called({ baggage }), async (run) => {
        expect(run.signal.aborted).toBe(revoke === "abort");
        expect(run.writesAllowed()).toBe(revoke === "finish");
        expect(await run.pin("support-agent", "other")).toBe(STABLE);
      });
      await ended;
      await provider.onClose();
      // Asked anew, so it is announced and reported here.
      expect(server.outcomes.map(({ alias: name, version }) => [name, version])).toEqual([
        ["support-agent", CANDIDATE],
        ["support-agent", STABLE],
      ]);
    },
  );

  test("by taking its weight is not served", async () => {
    const baggage = await baggageOf();
    await setup.change(alias({ revision: 2, allocation: [{ version: STABLE, weight: 100_000 }] }));
    await withRun(called({ baggage }), async (run) => expect(await run.pin("support-agent", "other")).toBe(STABLE));
  });
});

test("what the calling run has not asked for is asked for by the called one", async () => {
  const baggage = await baggageOf();
  const { provider } = setup;
  await withRun(called({ baggage }), async (run) => {
    expect(await run.pin("planner", "other")).toBe(provider.version("planner", setup.candidateConversation()));
  });
});

test("a called run hands on what it was told: pins it did not ask for, and members that are somebody else's", async () => {
  const baggage = `vendor=a%20b;ttl=3,${await baggageOf()},other=x`;
  const passedOn = await withRun(called({ baggage }), () => withRun({ agent: "writer" }, (inner) => inner.baggage()));
  expect(passedOn).toContain("flagback.pin.support-agent=support-agent%402.4.0;revision=1");
  expect(passedOn.split(",").slice(-2)).toEqual(["vendor=a%20b;ttl=3", "other=x"]);
});

test("its own ids come before those of the baggage", async () => {
  const baggage = await baggageOf();
  await withRun(called({ baggage, conversationId: "mine", context: { tenant: "globex" } }), (run) => {
    expect(run).toMatchObject({ conversationId: "mine", targetingKey: "mine", parentRunId: "r-1" });
  });
});

test("a request that is served inside of a run is part of the run that sent it", async () => {
  const baggage = await baggageOf();
  await withRun(calling({ runId: "the server's", agent: "gateway" }), () =>
    withRun(called({ baggage }), (run) => expect(run.parentRunId).toBe("r-1")),
  );
});

describe("baggage that can't be used", () => {
  const ofNobody = (run: Run) => expect(run).toMatchObject({ parentRunId: undefined, conversationId: undefined });

  test.each<[string, unknown]>([
    ["none", undefined],
    ["null", null],
    ["an empty header", ""],
    ["somebody else's alone", "vendor=1"],
  ])("%s is no problem", async (_what, baggage) => {
    await withRun(called({ baggage }), ofNobody);
    expect(setup.said).toEqual([]);
  });

  test.each<[string, string]>([
    ["too long", `flagback.run=r-1,x=${"y".repeat(9_000)}`],
    ["of too many members", `flagback.run=r-1,${"a=b,".repeat(64)}`],
    ["without a value", "flagback.run"],
    ["with an impossible run id", `flagback.run=${"r".repeat(129)}`],
    ["with an impossible pin", "flagback.pin.support-agent=%00;revision=1"],
    ["with a pin without a revision", "flagback.pin.support-agent=support-agent%402.4.0"],
    ["with an empty conversation", "flagback.conversation="],
  ])("%s is one log line and costs the run nothing", async (_what, baggage) => {
    for (let again = 0; again < 3; again++) await withRun(called({ baggage }), ofNobody);
    expect(setup.said).toEqual([expect.stringContaining("baggage")]);
  });

  test("whatever the header is, the run has a version, and never one that nobody is served", async () => {
    const { change } = setup;
    await change(rolledBack("finish"));
    const good = "flagback.pin.support-agent=support-agent%402.4.0;revision=1";
    const part = fc.oneof(
      fc.constant(good),
      fc.constant("flagback.agents=%2F%2F"),
      fc.constant("flagback.scope.__proto__=x"),
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.string({ maxLength: 40 }).map((text) => `flagback.${text}`),
    );
    const header = fc.oneof(
      fc.array(part, { maxLength: 6 }).map((parts) => parts.join(",")),
      fc.array(part),
    );
    await fc.assert(
      fc.asyncProperty(header, async (baggage) => {
        await withRun(called({ baggage }), async (run) => {
          expect(await run.pin("support-agent", "none")).toBe(STABLE);
          expect(run.baggage().length).toBeLessThanOrEqual(8_192);
        });
      }),
    );
  });
});
