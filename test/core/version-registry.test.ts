/**
 * The registry's two promises: what a rollback may need stays, and what an alias serves its readers can read.
 */
import { createHash } from "node:crypto";
import {
  type Command,
  canRollBack,
  runtimeDocuments,
  type Transition,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import { ConfigFile, desiredState, type Json, type PayloadSchema, Policy } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

const START = "2026-01-01T00:00:00.000Z";
const payloads = new JsonSchemaChecker();
const POLICY = Policy.parse({
  guardrails: [{ metric: "error_rate", max: 0.05 }],
  stages: [{ name: "full", percent: 100 }],
  rollbackWindow: "7d",
  retention: "30d",
});

/** The moment so many days after the start. */
const day = (days: number): string => new Date(Date.parse(START) + days * 86_400_000).toISOString();

describe("retiring a version is refused", () => {
  test("while it is the stable version of an alias", () => {
    expect(retiring(ready(), "agent@1")).toContain("it is the stable version of agent");
  });

  test("while it is the candidate of a rollout, also at a paused one", () => {
    const started = done(ready(), start("agent@2"));
    expect(retiring(started, "agent@2")).toMatch(/it is (serving traffic|the candidate of the rollout)/);
    const paused = done(started, { kind: "pauseRollout", alias: "agent", reason: "looking" });
    expect(retiring(paused, "agent@2")).toContain("can't be retired");
  });

  test("while it has weight outside of a rollout", () => {
    const split = done(ready(), {
      kind: "putAlias",
      name: "agent",
      allocation: [
        { version: "agent@1", weight: 90_000 },
        { version: "agent@2", weight: 10_000 },
      ],
    });
    expect(retiring(split, "agent@2")).toContain("it is serving traffic of agent");
  });

  test("while it is what a promotion can be rolled back to, and for the retention after that", () => {
    const promoted = promote(ready(), "agent@2", 0);
    expect(retiring(promoted, "agent@1", 6)).toContain("the previous stable version of agent");
    // The rollback window of 7 days, and 30 days of retention after it.
    expect(retiring(promoted, "agent@1", 36.9)).toContain("the previous stable version of agent");
    expect(retiring(promoted, "agent@1", 37)).toBe("retired");
    const { hint } = refusal(promoted, { kind: "retireVersion", id: "agent@1", reason: "tidy" });
    expect(hint).toContain(`can be retired from ${day(37)} on`);
  });

  test("while a promotion waits for an answer, however long its rollback window is over", () => {
    const held = done(promote(ready(), "agent@2", 0), {
      kind: "holdRollout",
      alias: "agent",
      cause: "approval",
      summary: "Somebody has to decide.",
      evidence: [],
      engage: false,
    });
    expect(retiring(held, "agent@1", 400)).toContain("it is the rollback target of agent");
  });

  test("while it was stable within the retention, also where another has been stable since", () => {
    const twice = promote(promote(ready(), "agent@2", 0), "agent@3", 1);
    expect(twice.aliases.get("agent")?.previousStable?.version).toBe("agent@2");
    expect(retiring(twice, "agent@1", 29)).toContain("a version that was stable within the retention of agent");
    expect(retiring(twice, "agent@1", 30)).toBe("retired");
  });

  test("while the version before it was stable and a rollback has gone back to it", () => {
    const twice = promote(promote(ready(), "agent@2", 0), "agent@3", 1);
    const back = done(twice, { kind: "rollback", alias: "agent", reason: "bad after all" }, day(2));
    expect(retiring(back, "agent@2", 3)).toContain("it is the stable version of agent");
    expect(retiring(back, "agent@1", 3)).toContain("was stable within the retention");
  });

  test("for nothing that nobody needs, and then it gets no traffic again", () => {
    expect(retiring(ready(), "agent@3")).toBe("retired");
    const without = done(ready(), { kind: "retireVersion", id: "agent@3", reason: "tidy" });
    expect(refusal(without, start("agent@3")).problems).toEqual(["the candidate agent@3 is retired"]);
  });
});

describe("the payload schema of an alias", () => {
  const WITH_PROMPT = {
    type: "object",
    required: ["prompt"],
    properties: { prompt: { type: "string" }, tools: { type: "array", items: { enum: ["search", "refund"] } } },
    additionalProperties: false,
  } satisfies PayloadSchema;

  test("lets nothing be registered that breaks it, and names each place", () => {
    const world = done(ready(), putSchema(WITH_PROMPT));
    expect(refusal(world, register("agent@4", { tools: ["search", "delete"], extra: 1 }))).toMatchObject({
      code: "payload_invalid",
      message: expect.stringContaining("The payload of agent@4 does not meet the payload schema of agent"),
      problems: [
        "agent@4: the payload must have required property 'prompt'",
        "agent@4: the payload must NOT have additional properties: extra",
        'agent@4: /tools/1 must be equal to one of the allowed values: ["search","refund"]',
      ],
    });
    expect(done(world, register("agent@4", { prompt: "four", tools: ["refund"] })).versions.has("agent@4")).toBe(true);
  });

  test.each([
    ["boolean", true, "true"],
    ["string", "text", 1],
    ["number", 0.5, "0.5"],
    ["object", { a: 1 }, [1]],
  ] as const)("may be OpenFeature's type %s", (type, right, wrong) => {
    const world = done(withoutVersions(), { kind: "putAlias", name: "agent", payloadSchema: type });
    expect(done(world, register("agent@1", right)).versions.get("agent@1")?.payload).toEqual(right);
    expect(refusal(world, register("agent@2", wrong as Json)).problems).toEqual([
      `agent@2: the payload must be ${type}`,
    ]);
  });

  test("can't be set while the stable version or a rollout's candidate breaks it", () => {
    const strict = putSchema({ type: "object", properties: { prompt: { const: "one" } } });
    expect(refusal(done(ready(), start("agent@2")), strict)).toMatchObject({
      code: "payload_invalid",
      problems: ["agent@2: /prompt must be equal to constant"],
    });
    expect(refusal(ready(), putSchema({ required: ["model"] })).problems).toEqual([
      "agent@1: the payload must have required property 'model'",
    ]);
  });

  test("can't be set while what a rollback would return to breaks it", () => {
    const promoted = promote(ready(), "agent@2", 0);
    const strict = putSchema({ type: "object", properties: { prompt: { const: "two" } } });
    expect(refusal(promoted, strict).problems).toEqual(["agent@1: /prompt must be equal to constant"]);
    // Once the promotion is final nothing returns there.
    expect(done(promoted, strict, day(7)).aliases.get("agent")?.payloadSchema).toBeDefined();
  });

  test("lets no version start a rollout, get weight or become stable that was registered before it and breaks it", () => {
    const strict = done(ready(), putSchema({ type: "object", properties: { prompt: { enum: ["one", "two"] } } }));
    expect(refusal(strict, start("agent@3"))).toMatchObject({
      code: "rollback_plan_missing",
      problems: [expect.stringContaining("the payload of agent@3 breaks the alias's payload schema: /prompt must be")],
    });
    const allocation = [
      { version: "agent@1", weight: 50_000 },
      { version: "agent@3", weight: 50_000 },
    ];
    expect(refusal(strict, { kind: "putAlias", name: "agent", allocation }).code).toBe("payload_invalid");
    const undeclared = done(done(withoutVersions(), register("agent@1", { prompt: 1 })), {
      kind: "putAlias",
      name: "agent",
      payloadSchema: WITH_PROMPT,
    });
    const declare = { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" } as const;
    expect(refusal(undeclared, declare).code).toBe("payload_invalid");
  });

  test("is met by whatever runtimes are sent and a rollback returns to, after any sequence of commands", () => {
    const version = fc.constantFrom("agent@1", "agent@2", "agent@3", "agent@4");
    const schema = fc
      .subarray(["one", "two", "three", "four"])
      .map((prompts) => (prompts.length === 4 ? null : { properties: { prompt: { enum: prompts } }, type: "object" }));
    const command: fc.Arbitrary<Command> = fc.oneof(
      schema.map(putSchema),
      version.map(start),
      fc.constant<Command>(register("agent@4", { prompt: "four" })),
      fc.constantFrom<Command>(
        { kind: "rollback", alias: "agent", reason: "r" },
        { kind: "promote", alias: "agent", reason: "r" },
      ),
      fc.tuple(version, fc.constantFrom(0, 10_000)).map(
        ([id, weight]): Command => ({
          kind: "putAlias",
          name: "agent",
          allocation: [
            { version: id, weight },
            { version: "agent@1", weight: 100_000 - weight },
          ],
        }),
      ),
    );
    let met = 0;
    fc.assert(
      fc.property(fc.array(command, { maxLength: 20 }), (commands) => {
        // Conversations may finish on what lost its weight.
        const policy = { ...POLICY, onWithdraw: "finish", stickiness: "conversation" } as const;
        let world = done(ready(), { kind: "putAlias", name: "agent", policy });
        for (const each of commands) {
          const result = transition(world, each, at(START));
          if (result.kind === "change") world = worldAfter(world, result.change);
          const agent = world.aliases.get("agent");
          const demanded = agent?.payloadSchema;
          if (!agent || typeof demanded !== "object") continue;
          const allowed = (demanded.properties as { prompt: { enum: string[] } }).prompt.enum;
          const target = canRollBack(agent, START)
            ? world.versions.get(agent.rollout?.target ?? "")?.payload
            : undefined;
          const sent = runtimeDocuments(world).flatMap((document) =>
            document.kind === "alias" ? Object.values(document.versions).map(({ payload }) => payload) : [],
          );
          for (const payload of [...sent, ...(target === undefined ? [] : [target])]) {
            expect(allowed).toContain((payload as { prompt: string }).prompt);
            met += 1;
          }
        }
      }),
      { numRuns: 300 },
    );
    // It is no empty promise: schemas were set, and payloads met them.
    expect(met).toBeGreaterThan(100);
  });

  test("does not stand in the way of a rollback", () => {
    const started = done(ready(), start("agent@2"));
    // As a database would be that an older flagback wrote.
    const agent = { ...(started.aliases.get("agent") as never as object), payloadSchema: { required: ["model"] } };
    const broken = { ...started, aliases: new Map(started.aliases).set("agent", agent as never) };
    const back = done(broken, { kind: "rollback", alias: "agent", reason: "bad" });
    expect(back.aliases.get("agent")?.rollout?.state).toBe("rolled_back");
  });

  test("is taken away by null, and set twice changes nothing", () => {
    const world = done(ready(), putSchema(WITH_PROMPT));
    expect(transition(world, putSchema(WITH_PROMPT), at(START)).kind).toBe("unchanged");
    const free = done(world, putSchema(null));
    expect(free.aliases.get("agent")).not.toHaveProperty("payloadSchema");
    expect(done(free, register("agent@4", { anything: 1 })).versions.has("agent@4")).toBe(true);
  });

  test.each([
    ["a misspelt keyword", { typ: "object" }, 'unknown keyword: "typ"'],
    ["an unknown type", { type: "text" }, "must be equal to one of the allowed values"],
    ["a reference to elsewhere", { $ref: "https://example.com/schema" }, "can't resolve reference"],
    ["another draft", { $schema: "http://json-schema.org/draft-04/schema#" }, "no schema with key or ref"],
    ["an answer that comes later", { $async: true, type: "string" }, "$async is not supported"],
  ] as const)("is refused for %s", (_what, schema, problem) => {
    const { code, message } = refusal(ready(), putSchema(schema));
    expect(code).toBe("payload_schema_invalid");
    expect(message).toContain(problem);
  });

  test("may be of draft 7, and refer to itself by its own name", () => {
    const tree = {
      $schema: "http://json-schema.org/draft-07/schema#",
      $id: "https://example.com/tree",
      type: "object",
      properties: { prompt: { type: "string" }, next: { $ref: "https://example.com/tree" } },
    };
    const world = done(ready(), putSchema(tree));
    expect(refusal(world, register("agent@4", { next: { prompt: 4 } })).problems).toEqual([
      "agent@4: /next/prompt must be string",
    ]);
    // The same name again, for another schema.
    expect(done(world, putSchema({ ...tree, properties: {} })).aliases.get("agent")?.payloadSchema).toBeDefined();
  });

  test("of a file holds for the versions of the same file", () => {
    const file = (prompt: Json) =>
      desiredState(
        ConfigFile.parse({
          versions: [{ id: "bot@1", payload: { prompt } }],
          aliases: { bot: { payloadSchema: WITH_PROMPT, stable: "bot@1" } },
        }),
      ).state;
    expect(refusal(ready(), { kind: "apply", desired: file(1) }).problems).toContain("bot@1: /prompt must be string");
    const applied = done(ready(), { kind: "apply", desired: file("one") });
    expect(applied.aliases.get("bot")).toMatchObject({ stable: "bot@1", payloadSchema: WITH_PROMPT });
    expect(transition(applied, { kind: "apply", desired: file("one") }, at(START)).kind).toBe("unchanged");
  });
});

function at(now: string) {
  return {
    actor: { kind: "token", name: "ada", id: "t1" },
    now,
    digestOf: (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
    payloads,
  } as const;
}

function withoutVersions(): World {
  return done(EMPTY_WORLD, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
}

/** Three versions of an alias, the first of which is stable. */
function ready(): World {
  const commands: Command[] = [
    register("agent@1", { prompt: "one" }),
    register("agent@2", { prompt: "two" }),
    register("agent@3", { prompt: "three" }),
    { kind: "putAlias", name: "agent", policy: POLICY },
    { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" },
  ];
  return commands.reduce((world, command) => done(world, command), withoutVersions());
}

/** The version at 100 % and stable, so many days after the start. */
function promote(world: World, version: string, days: number): World {
  const full = done(world, start(version), day(days));
  return done(full, { kind: "promote", alias: "agent", reason: "all good" }, day(days));
}

function register(id: string, payload: Json): Command {
  return { kind: "registerVersion", version: { id, alias: "agent", kind: "prompt", payload, labels: {}, notes: "" } };
}

function start(candidate: string): Command {
  return { kind: "startRollout", alias: "agent", candidate, reason: "" };
}

function putSchema(payloadSchema: PayloadSchema | null): Command {
  return { kind: "putAlias", name: "agent", payloadSchema };
}

function done(world: World, command: Command, now = START): World {
  const result = transition(world, command, at(now));
  if (result.kind !== "change") throw new Error(`${command.kind} was ${JSON.stringify(result)}`);
  return worldAfter(world, result.change);
}

function refusal(world: World, command: Command) {
  const result: Transition = transition(world, command, at(START));
  if (result.kind !== "refused") throw new Error(`${command.kind} was not refused: ${result.kind}`);
  return result.refusal;
}

/** What retiring a version answers after so many days: why not, or `retired`. */
function retiring(world: World, id: string, days = 0): string {
  const result = transition(world, { kind: "retireVersion", id, reason: "tidy" }, at(day(days)));
  return result.kind === "refused" ? result.refusal.message : "retired";
}
