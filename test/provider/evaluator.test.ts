import { resolveAlias } from "@flagback/core/evaluation";
import type { RuntimeAlias, RuntimeDocument } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Evaluator } from "../../provider/src/evaluator.ts";
import { problemLog } from "../../provider/src/logger.ts";
import { alias, CANDIDATE, flag, killSwitch, rolledBack, STABLE } from "./documents.ts";

function setUp(...documents: RuntimeDocument[]) {
  const world = { lapsedForMs: -1, leaseReads: 0, logged: [] as string[] };
  const logger = { warn: (line: string) => world.logged.push(line), error: (line: string) => world.logged.push(line) };
  const evaluator = new Evaluator({
    writeSwitch: "writes_disabled",
    isLeaseLive: (graceMs = 0) => {
      world.leaseReads += 1;
      return world.lapsedForMs < graceMs;
    },
    log: problemLog(logger),
    onServed: () => {},
  });
  evaluator.swap({ type: "snapshot", epoch: "0".repeat(32), mark: "0".repeat(16), revision: 1, documents });
  return { evaluator, world };
}

describe("the synchronous reads", () => {
  test("the version is the rule's, under a live and a lapsed lease, for every key and policy", () => {
    const document = fc
      .record({
        candidateWeight: fc.constantFrom(0, 1, 50_000, 99_999, 100_000),
        stable: fc.constantFrom(STABLE, CANDIDATE, null),
        revoked: fc.constantFrom<RuntimeAlias["revoked"][]>({}, { [CANDIDATE]: "abort" }, { [STABLE]: "finish" }),
        onLeaseLapse: fc.constantFrom("stable" as const, "last" as const),
      })
      .map(({ candidateWeight, ...over }) =>
        alias({
          ...over,
          allocation: [
            { version: CANDIDATE, weight: candidateWeight },
            { version: STABLE, weight: 100_000 - candidateWeight },
          ],
        }),
      );
    fc.assert(
      fc.property(document, fc.option(fc.string(), { nil: undefined }), fc.boolean(), (each, targetingKey, isLive) => {
        const { evaluator, world } = setUp(each);
        world.lapsedForMs = isLive ? -1 : 1;
        expect(evaluator.version("support-agent", targetingKey)).toBe(resolveAlias(each, targetingKey, isLive).version);
      }),
    );
  });

  test("ask for the lease where the answer depends on it, and only there", () => {
    const { evaluator, world } = setUp(alias(), killSwitch());
    const keys = Array.from({ length: 100 }, (_, i) => `user-${i}`);
    const candidates = keys.filter((key) => resolveAlias(alias(), key, true).version === CANDIDATE);
    for (const key of keys) evaluator.version("support-agent", key);
    expect(candidates.length).toBeGreaterThan(0);
    expect(world.leaseReads).toBe(candidates.length);

    expect(evaluator.writesAllowed()).toBe(true);
    expect(world.leaseReads).toBe(candidates.length + 1);
  });

  test("follow a change of the write switch, also of its kind, and its end", () => {
    const { evaluator } = setUp(killSwitch());
    const put = (document: RuntimeDocument, revision: number) =>
      evaluator.swap({ type: "delta", from: revision - 1, revision, mark: "", put: [document], delete: [] });
    expect(evaluator.writesAllowed()).toBe(true);
    put(killSwitch("*"), 2);
    expect(evaluator.writesAllowed()).toBe(false);
    put(killSwitch(), 3);
    expect(evaluator.writesAllowed()).toBe(true);
    put({ ...flag("writes_disabled", {}), revision: 4 }, 4);
    expect(evaluator.writesAllowed()).toBe(false);
  });

  test("fail closed on a context that throws, and say so once", () => {
    const { evaluator, world } = setUp(killSwitch("agent=support-agent"));
    const hostile = new Proxy(
      {},
      {
        getOwnPropertyDescriptor: () => {
          throw new Error("no");
        },
      },
    );
    expect(evaluator.writesAllowed(hostile)).toBe(false);
    expect(evaluator.writesAllowed(hostile)).toBe(false);
    expect(world.logged).toEqual([expect.stringContaining("writes_disabled could not be evaluated")]);
  });

  test("give a targeting key that is no text what no key gets", () => {
    const { evaluator } = setUp(alias());
    // @ts-expect-error: what a caller without types can pass.
    expect(evaluator.version("support-agent", 7)).toBe(STABLE);
  });
});

test("an alias and its kill switch, read in one breath, come from one revision", () => {
  const { evaluator } = setUp(alias(), killSwitch());
  const key = Array.from({ length: 100 }, (_, i) => `user-${i}`).find(
    (each) => evaluator.version("support-agent", each) === CANDIDATE,
  );
  const put = [rolledBack(), killSwitch("agent=support-agent")];
  evaluator.swap({ type: "delta", from: 1, revision: 2, mark: "", put, delete: [] });
  expect(evaluator.version("support-agent", key)).toBe(STABLE);
  expect(evaluator.writesAllowed({ agent: "support-agent" })).toBe(false);
});

test("what does not depend on the caller is made once: static flags, switches and each answer of a split", () => {
  const { evaluator } = setUp(
    alias(),
    killSwitch(),
    flag("banner", {}),
    flag("greeting", {
      variants: { hello: { text: "hello" } },
      defaultVariant: "hello",
    }),
  );
  const twice = <T>(read: () => T) => expect(read()).toBe(read());
  twice(() => evaluator.resolveBoolean("banner", false, {}));
  twice(() => evaluator.resolveBoolean("writes_disabled", true, {}));
  twice(() => evaluator.resolveObject("greeting", {}, {}));
  for (const targetingKey of ["u1", "u2", "u3"])
    twice(() => evaluator.resolveString("support-agent", "", { targetingKey }));
});
