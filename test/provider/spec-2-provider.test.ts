/**
 * Section 2 of the OpenFeature specification (0.9), as far as it falls on a provider. Titles begin with the requirement's
 * number; `spec-requirements.test.ts` lists them all.
 */
import type { FlagbackProvider } from "@flagback/provider";
import { ErrorCode, OpenFeature, ProviderEvents, type ResolutionDetails } from "@openfeature/server-sdk";
import { describe, expect, expectTypeOf, onTestFinished, test } from "vitest";
import { alias, CANDIDATE, flag, killSwitch, rolledBack, STABLE } from "./documents.ts";
import { closeOpenFeature, connect, fakeProvider, fakeServer, keysOf, nextEvent } from "./harness.ts";

const BYE = { greeting: "bye", times: 2 };
const documents = () => [
  alias(),
  killSwitch("agent=support-agent"),
  flag("banner", { metadata: { owner: "growth", since: 2024, public: true } }),
  flag("limit", { variants: { low: 5, high: 50 }, defaultVariant: "low" }),
  flag("greeting", { variants: { hi: "hello", bye: "goodbye" }, defaultVariant: "hi" }),
  flag("layout", { variants: { plain: BYE }, defaultVariant: "plain" }),
  flag("off", { state: "DISABLED" }),
  flag("byTenant", { targeting: { if: [{ "==": [{ var: "tenant" }, "acme"] }, "off", null] } }),
  flag("lost", { targeting: { if: [true, "no-such-variant"] } }),
  flag("unreadable", { defaultVariant: "no-such-variant" }),
];

const ready = async () => {
  const server = await fakeServer(...documents());
  return { server, ...(await connect(server)) };
};

const ACME = { tenant: "acme" };
const AGENT = { agent: "support-agent" };

/** Every way to a value that the provider has, read directly. */
const successes = (provider: FlagbackProvider, targetingKey: string) => ({
  alias: provider.resolveStringEvaluation("support-agent", "x", { targetingKey }),
  payload: provider.resolveObjectEvaluation("support-agent", {}, { targetingKey }),
  engaged: provider.resolveBooleanEvaluation("writes_disabled", false, AGENT),
  released: provider.resolveBooleanEvaluation("writes_disabled", true, { agent: "other" }),
  boolean: provider.resolveBooleanEvaluation("banner", false, {}),
  number: provider.resolveNumberEvaluation("limit", 0, {}),
  string: provider.resolveStringEvaluation("greeting", "x", {}),
  object: provider.resolveObjectEvaluation("layout", {}, {}),
  targeted: provider.resolveBooleanEvaluation("byTenant", true, ACME),
});

async function resolved<Key extends string>(
  of: Record<Key, Promise<ResolutionDetails<unknown>>>,
): Promise<Record<Key, ResolutionDetails<unknown>>> {
  const entries = Object.entries(of) as [Key, Promise<ResolutionDetails<unknown>>][];
  return Object.fromEntries(await Promise.all(entries.map(async ([key, made]) => [key, await made]))) as never;
}

/** Every way to an error, with a default of 7, `x` or the like. */
const failures = (provider: FlagbackProvider) => ({
  unknown: provider.resolveBooleanEvaluation("nobody", true, {}),
  aliasAsNumber: provider.resolveNumberEvaluation("support-agent", 7, {}),
  switchAsText: provider.resolveStringEvaluation("writes_disabled", "x", {}),
  flagAsNumber: provider.resolveNumberEvaluation("banner", 7, {}),
  noVariant: provider.resolveBooleanEvaluation("lost", true, {}),
  unreadable: provider.resolveBooleanEvaluation("unreadable", true, {}),
});

describe("2.1 and 2.2, what a provider resolves", () => {
  test("2.1.1: its metadata names it, also to a client", async () => {
    const { provider, client } = await ready();
    expect(provider.metadata.name).toBe("flagback");
    expect(client.metadata.providerMetadata.name).toBe("flagback");
  });

  test("2.2.1: each resolver takes a key, a default and a context that may be left out, and answers details", async () => {
    const { provider } = await ready();
    const without = (resolver: unknown, key: string, fallback: unknown) =>
      Reflect.apply(resolver as () => unknown, provider, [key, fallback]);
    expect(await without(provider.resolveBooleanEvaluation, "banner", false)).toMatchObject({ value: true });
    expect(await without(provider.resolveNumberEvaluation, "limit", 0)).toMatchObject({ value: 5 });
    expect(await without(provider.resolveStringEvaluation, "support-agent", "x")).toMatchObject({ value: STABLE });
    expect(await without(provider.resolveObjectEvaluation, "layout", {})).toMatchObject({ value: BYE });
    // A scope whose attribute is absent matches.
    expect(await without(provider.resolveBooleanEvaluation, "writes_disabled", false)).toMatchObject({ value: true });
  });

  test("2.2.2.1: booleans, numbers, strings and structures have a resolver each, which gives no other type", async () => {
    const { provider } = await ready();
    const keys = { boolean: "banner", number: "limit", string: "greeting", object: "layout" } as const;
    for (const [type, key] of Object.entries(keys)) {
      const answers = {
        boolean: await provider.resolveBooleanEvaluation(key, false, {}),
        number: await provider.resolveNumberEvaluation(key, 0, {}),
        string: await provider.resolveStringEvaluation(key, "", {}),
        object: await provider.resolveObjectEvaluation(key, {}, {}),
      };
      for (const [asked, { errorCode }] of Object.entries(answers)) {
        expect([key, asked, errorCode]).toEqual([key, asked, asked === type ? undefined : ErrorCode.TYPE_MISMATCH]);
      }
    }
  });

  test("2.2.3: a successful resolution carries the value", async () => {
    const { provider } = await ready();
    const answers = await resolved(successes(provider, keysOf(provider).candidateKey));
    expect(Object.fromEntries(Object.entries(answers).map(([what, { value }]) => [what, value]))).toEqual({
      alias: CANDIDATE,
      payload: { prompt: "new" },
      engaged: true,
      released: false,
      boolean: true,
      number: 5,
      string: "hello",
      object: BYE,
      targeted: false,
    });
  });

  test("2.2.4: a successful resolution carries the variant", async () => {
    const { provider } = await ready();
    const answers = await resolved(successes(provider, keysOf(provider).candidateKey));
    expect(Object.fromEntries(Object.entries(answers).map(([what, { variant }]) => [what, variant]))).toEqual({
      alias: CANDIDATE,
      payload: CANDIDATE,
      engaged: "engaged",
      released: "released",
      boolean: "on",
      number: "low",
      string: "hi",
      object: "plain",
      targeted: "off",
    });
  });

  test("2.2.5: the reason says why, also for what is stale, disabled, cached or an error", async () => {
    const server = await fakeServer(...documents());
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { provider } = await connect(server, { clock, cachedReason: true });
    const { candidateKey } = keysOf(provider);
    const reasons = async () => {
      const text = await provider.resolveStringEvaluation("support-agent", "x", { targetingKey: candidateKey });
      const keyless = await provider.resolveStringEvaluation("support-agent", "x", {});
      const engaged = await provider.resolveBooleanEvaluation("writes_disabled", false, AGENT);
      const banner = await provider.resolveBooleanEvaluation("banner", false, {});
      const targeted = await provider.resolveBooleanEvaluation("byTenant", true, ACME);
      const others = await provider.resolveBooleanEvaluation("byTenant", true, {});
      const off = await provider.resolveBooleanEvaluation("off", true, {});
      const unknown = await provider.resolveBooleanEvaluation("nobody", true, {});
      return [text, keyless, engaged, banner, targeted, others, off, unknown].map(({ reason }) => reason);
    };
    const why = ["SPLIT", "DEFAULT", "TARGETING_MATCH", "STATIC", "TARGETING_MATCH", "DEFAULT", "DISABLED", "ERROR"];
    expect(await reasons()).toEqual(why);
    expect(await reasons()).toEqual(why.map((reason) => (reason === "STATIC" ? "CACHED" : reason)));
    jumpMs = 3_600_000; // The lease lapses.
    const stale = await reasons();
    expect(stale.slice(0, 6)).toEqual(Array(6).fill("STALE"));
    expect(stale.at(-1)).toBe("ERROR");
  });

  test("2.2.6, 2.3.2: a successful resolution carries neither error code nor error message", async () => {
    const { provider } = await ready();
    const answers = await resolved(successes(provider, keysOf(provider).candidateKey));
    for (const [what, { errorCode, errorMessage }] of Object.entries(answers)) {
      expect([what, errorCode, errorMessage]).toEqual([what, undefined, undefined]);
    }
    expect(Object.keys(answers)).toHaveLength(9);
  });

  test("2.2.7, 2.3.3: a failed one carries the default, the code for what failed, and a message that says it", async () => {
    const { provider } = await ready();
    const answers = await resolved(failures(provider));
    const told = Object.entries(answers).map(([what, { value, reason, errorCode }]) => [
      what,
      value,
      reason,
      errorCode,
    ]);
    expect(told).toEqual([
      ["unknown", true, "ERROR", ErrorCode.FLAG_NOT_FOUND],
      ["aliasAsNumber", 7, "ERROR", ErrorCode.TYPE_MISMATCH],
      ["switchAsText", "x", "ERROR", ErrorCode.TYPE_MISMATCH],
      ["flagAsNumber", 7, "ERROR", ErrorCode.TYPE_MISMATCH],
      ["noVariant", true, "ERROR", ErrorCode.GENERAL],
      ["unreadable", true, "ERROR", ErrorCode.PARSE_ERROR],
    ]);
    for (const { errorMessage } of Object.values(answers)) expect(errorMessage?.length).toBeGreaterThan(10);
    expect(answers.aliasAsNumber.errorMessage).toBe("support-agent is an alias and was read as a number");
  });

  test("2.2.7: before anything was received the code is PROVIDER_NOT_READY, whatever the SDK would say", async () => {
    const { provider } = fakeProvider(await fakeServer());
    expect(await provider.resolveStringEvaluation("support-agent", "mine", {})).toMatchObject({
      value: "mine",
      reason: "ERROR",
      errorCode: ErrorCode.PROVIDER_NOT_READY,
    });
  });

  test("2.2.8.1: the details are of the caller's type", async () => {
    const { provider } = await ready();
    const details = await provider.resolveObjectEvaluation("layout", { greeting: "x", times: 0 }, {});
    expectTypeOf(details).toEqualTypeOf<ResolutionDetails<{ greeting: string; times: number }>>();
    expectTypeOf(provider.resolveNumberEvaluation("limit", 0, {})).resolves.toEqualTypeOf<ResolutionDetails<number>>();
    expect(details.value.times + 1).toBe(3);
  });

  test("2.2.9: metadata says revision, role, stage and version of an alias, and of a flag what its definition says", async () => {
    const { provider } = await ready();
    const answers = await resolved(successes(provider, keysOf(provider).candidateKey));
    expect(answers.alias.flagMetadata).toEqual({
      revision: 1,
      role: "candidate",
      stage: "validation",
      version: CANDIDATE,
    });
    expect(answers.engaged.flagMetadata).toEqual({ revision: 2 });
    expect(answers.boolean.flagMetadata).toEqual({ owner: "growth", since: 2024, public: true });
    expect(answers.number.flagMetadata).toEqual({});
  });

  test("2.2.10: metadata holds booleans, texts and numbers under text keys, and nobody can change it for others", async () => {
    const { provider } = await ready();
    const answers = await resolved({ ...successes(provider, "user-1"), ...failures(provider) });
    const values = Object.values(answers).flatMap(({ flagMetadata }) => Object.values(flagMetadata ?? {}));
    expect(new Set(values.map((value) => typeof value))).toEqual(new Set(["boolean", "string", "number"]));
    const tamper = () => Object.assign(answers.boolean.flagMetadata as object, { owner: "somebody else" });
    expect(tamper).toThrow(TypeError);
  });
});

describe("2.4, initialization", () => {
  test("2.4.1: takes the global context and a domain, and connects before it ends", async () => {
    const server = await fakeServer(...documents());
    const { provider } = fakeProvider(server);
    closeOpenFeature();
    OpenFeature.setContext({ region: "eu" });
    expect(provider.revision).toBeNull();
    await OpenFeature.setProviderAndWait("checkout", provider);
    expect(provider.revision).toBe(1);
    expect(server.messages("lease")).toHaveLength(1);
    expect(await OpenFeature.getClient("checkout").getNumberValue("limit", 0)).toBe(5);
  });

  test("2.4.2.1: ends abnormally when it can't get ready: fatal for bad credentials, else not", async () => {
    const server = await fakeServer(...documents());
    const refused = fakeProvider(server, { token: "fb_runtime_0_wrong" }).provider;
    await expect(refused.initialize()).rejects.toMatchObject({ code: ErrorCode.PROVIDER_FATAL });
    await server.stop();
    const alone = fakeProvider(server, { initTimeoutMs: 20 }).provider;
    await expect(alone.initialize()).rejects.toMatchObject({ code: "unreachable" });
  });

  test("2.4.2.1: bad credentials are not fatal to one that holds data, which the SDK goes on asking", async () => {
    const server = await fakeServer(...documents());
    const { provider } = fakeProvider(server);
    await provider.initialize();
    await provider.onClose();
    server.refuses = 401;
    await expect(provider.initialize()).rejects.toMatchObject({ code: "unauthorized" });
    expect(provider.version("support-agent")).toBe(STABLE);
  });

  test("2.4.3: it is not scoped to a domain: several share it, with one connection", async () => {
    const server = await fakeServer(...documents());
    const { provider } = fakeProvider(server);
    closeOpenFeature();
    await OpenFeature.setProviderAndWait("checkout", provider);
    await OpenFeature.setProviderAndWait("search", provider);
    const values = ["checkout", "search"].map((domain) => OpenFeature.getClient(domain).getNumberValue("limit", 0));
    expect(await Promise.all(values)).toEqual([5, 5]);
    expect(server.upgrades).toBe(1);
  });
});

describe("2.5, shutdown", () => {
  test("2.5.2: leaves it as before the first initialize: no connection, and ready only once the server says so again", async () => {
    const server = await fakeServer(...documents());
    const { provider } = fakeProvider(server);
    await provider.initialize();
    await provider.onClose();
    await server.until(() => server.connections === 0);
    server.refuses = 401;
    await expect(provider.initialize()).rejects.toMatchObject({ code: "unauthorized" });
    await provider.onClose();
    server.refuses = null;
    await provider.initialize();
    expect(server.connections).toBe(1);
  });
});

describe("2.7, tracking", () => {
  test("2.7.1: takes a name, a context and details, returns nothing, and does not wait for the network", async () => {
    const { provider, server } = await ready();
    const { candidateKey: targetingKey } = keysOf(provider);
    await provider.resolveStringEvaluation("support-agent", "x", { targetingKey });
    server.acks = false;
    expect(provider.track("agent.run.outcome", { targetingKey }, { status: "success" })).toBeUndefined();
    expect(server.outcomes).toEqual([]);
    expect(provider.outcomeStatistics.pending).toBe(1);
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ version: CANDIDATE, status: "success" });
  });
});

describe("2.8, status", () => {
  test("2.8.1: every change of status by itself is one event: STALE, ERROR after the grace, READY on the way back", async () => {
    const server = await fakeServer(...documents());
    const { provider } = await connect(server, { errorGraceMs: 20 });
    const seen: string[] = [];
    for (const event of [ProviderEvents.Ready, ProviderEvents.Stale, ProviderEvents.Error]) {
      provider.events.addHandler(event, () => void seen.push(event));
    }
    const failed = nextEvent(provider, ProviderEvents.Error);
    await server.stop();
    await failed;
    const back = nextEvent(provider, ProviderEvents.Ready);
    await server.start();
    await back;
    expect(seen).toEqual([ProviderEvents.Stale, ProviderEvents.Error, ProviderEvents.Ready]);
  });

  /** What was emitted when the promise of `initialize` settled. */
  async function emittedByInitialize(provider: FlagbackProvider): Promise<object[]> {
    const emitted: object[] = [];
    for (const event of [ProviderEvents.Ready, ProviderEvents.Error]) {
      const handler = (details?: object) => void emitted.push({ event, ...details });
      provider.events.addHandler(event, handler);
      onTestFinished(() => provider.events.removeHandler(event, handler));
    }
    await provider.initialize().catch(() => undefined);
    return [...emitted];
  }

  test("2.8.2: READY is emitted before initialize ends, for an SDK that leaves it to us, and else not by us", async () => {
    const server = await fakeServer(...documents());
    const own = fakeProvider(server, { emitsLifecycleEvents: true }).provider;
    expect(await emittedByInitialize(own)).toEqual([expect.objectContaining({ event: ProviderEvents.Ready })]);
    expect(await emittedByInitialize(fakeProvider(server).provider)).toEqual([]);
  });

  test("2.8.3: ERROR with its code is emitted before initialize fails, for an SDK that leaves it to us, and else not by us", async () => {
    const server = await fakeServer(...documents());
    const refused = { token: "fb_runtime_0_wrong" };
    const own = fakeProvider(server, { ...refused, emitsLifecycleEvents: true }).provider;
    expect(await emittedByInitialize(own)).toEqual([
      { event: ProviderEvents.Error, errorCode: ErrorCode.PROVIDER_FATAL, message: expect.stringContaining("token") },
    ]);
    expect(await emittedByInitialize(fakeProvider(server, refused).provider)).toEqual([]);
    await server.stop();
    const alone = fakeProvider(server, { initTimeoutMs: 20, emitsLifecycleEvents: true }).provider;
    expect(await emittedByInitialize(alone)).toEqual([
      { event: ProviderEvents.Error, errorCode: ErrorCode.GENERAL, message: expect.stringContaining("20 ms") },
    ]);
  });
});

test("2.2.3: a value that many callers share can't be changed by one of them", async () => {
  const { provider, server } = await ready();
  const read = () => provider.resolveObjectEvaluation("layout", { times: 0 }, {});
  const { value } = await read();
  expect(() => Object.assign(value, { times: 99 })).toThrow(TypeError);
  expect((await read()).value).toEqual(BYE);
  const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
  server.put(rolledBack());
  await changed;
  expect((await read()).value).toEqual(BYE);
});
