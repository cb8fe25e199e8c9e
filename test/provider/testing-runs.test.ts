import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { currentRun, type ProviderLogger, withRun } from "@flagback/provider";
import { TestProvider } from "@flagback/provider/testing";
import { MultiProvider, OpenFeature } from "@openfeature/server-sdk";
import { build } from "esbuild";
import { afterEach, describe, expect, test, vi } from "vitest";

const STABLE = "support-agent@1";
const CANDIDATE = "support-agent@2";
const ROLLOUT = { aliases: { "support-agent": { stable: STABLE, candidate: CANDIDATE } } } as const;
const QUIET: ProviderLogger = { warn() {}, error() {} };

afterEach(async () => {
  await OpenFeature.clearProviders();
});

describe("outcomes", () => {
  test("are those of runs, tracked events and failures, as a server would get them", async () => {
    const flags = new TestProvider(ROLLOUT);
    await OpenFeature.setProviderAndWait("outcomes", flags);
    const client = OpenFeature.getClient("outcomes");
    const run = { client, agent: "support-agent", userId: "user-1" };

    await withRun({ ...run, runId: "run-1", conversationId: "c-1" }, async (live) => {
      await live.pin("support-agent", STABLE);
      expect(flags.outcomes()).toEqual([]);
      live.report({ status: "escalated", costUsd: 0.02, metrics: { steps: 3 } });
    });
    await expect(
      withRun({ ...run, runId: "run-2" }, async (live) => {
        await live.pin("support-agent", STABLE);
        throw new RangeError("out of tools");
      }),
    ).rejects.toThrow("out of tools");
    await client.getStringValue("support-agent", "", { targetingKey: "user-2" });
    client.track("agent.run.outcome", { targetingKey: "user-2" }, { status: "success", runId: "run-3" });

    const of = { alias: "support-agent", version: CANDIDATE };
    expect(flags.outcomes()).toMatchObject([
      { ...of, runId: "run-1", conversationId: "c-1", status: "escalated", costUsd: 0.02, metrics: { steps: 3 } },
      { ...of, runId: "run-2", status: "failure", errorType: "RangeError" },
      { ...of, runId: "run-3", status: "success" },
    ]);
    expect(flags.outcomeStatistics).toMatchObject({ acknowledged: 3, pending: 0, rejected: 0 });
  });

  test("are checked as the provider checks them: a bad field is named once and left out", async () => {
    const warnings: string[] = [];
    const flags = new TestProvider(ROLLOUT, { logger: { warn: (line) => warnings.push(line), error() {} } });
    const metrics = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`metric${i}`, i]));
    for (const runId of ["run-1", "run-2"]) {
      await withRun({ provider: flags, agent: "support-agent", runId }, async (run) => {
        await run.pin("support-agent", STABLE);
        run.report({ status: "success", quality: 7, metrics });
      });
    }
    expect(flags.outcomes().map(({ runId, quality, metrics }) => ({ runId, quality, metrics }))).toEqual([
      { runId: "run-1" },
      { runId: "run-2" },
    ]);
    expect(warnings).toEqual([expect.stringContaining("quality"), expect.stringContaining("at most 64 metrics")]);
    expect(flags.outcomeStatistics.repaired).toBe(2);
  });

  test("belong to whoever asks: changing them changes nothing", async () => {
    const flags = new TestProvider(ROLLOUT);
    await withRun({ provider: flags, agent: "support-agent" }, (run) => run.pin("support-agent", STABLE));
    const [first] = flags.outcomes();
    if (first) first.status = "failure";
    expect(flags.outcomes()).toMatchObject([{ status: "success" }]);
  });

  test("of runs that are under way when the provider closes are cancelled ones", async () => {
    const flags = new TestProvider(ROLLOUT);
    await OpenFeature.setProviderAndWait("closing", flags);
    await withRun({ client: OpenFeature.getClient("closing"), agent: "support-agent" }, async (run) => {
      await run.pin("support-agent", STABLE);
      await flags.onClose();
      expect(run.writesAllowed()).toBe(false);
    });
    expect(flags.outcomes()).toMatchObject([{ status: "cancelled" }]);
  });
});

describe("tests side by side", () => {
  test("share nothing: concurrent runs of several providers and domains see their own flags and report to their own", async () => {
    const agents = Array.from({ length: 8 }, (_, i) => ({ domain: `domain-${i}`, version: `support-agent@${i}` }));
    const providers = await Promise.all(
      agents.map(async ({ domain, version }) => {
        const flags = new TestProvider({ aliases: { "support-agent": version } });
        await OpenFeature.setProviderAndWait(domain, flags);
        return flags;
      }),
    );
    const runs = agents.flatMap(({ domain, version }, i) =>
      Array.from({ length: 10 }, async (_, n) => {
        const client = OpenFeature.getClient(domain);
        await withRun({ client, agent: "support-agent", runId: `run-${n}` }, async (run) => {
          await setImmediate();
          expect(await run.pin("support-agent", "other")).toBe(version);
          if (i % 2 === 0) providers[i]?.engage("writes_disabled", `run=${n}`);
          await setImmediate();
          expect(currentRun()?.runId).toBe(`run-${n}`);
          expect(run.writesAllowed({ run: n })).toBe(i % 2 === 1);
        });
      }),
    );
    await Promise.all(runs);
    for (const [i, flags] of providers.entries()) {
      const outcomes = flags.outcomes();
      expect(new Set(outcomes.map(({ version }) => version))).toEqual(new Set([`support-agent@${i}`]));
      expect(outcomes.map(({ runId }) => runId).sort()).toEqual(
        Array.from({ length: 10 }, (_, n) => `run-${n}`).sort(),
      );
    }
  });

  test("and one provider serves several domains, also inside a MultiProvider", async () => {
    const flags = new TestProvider(ROLLOUT, { logger: QUIET });
    await OpenFeature.setProviderAndWait("one", flags);
    await OpenFeature.setProviderAndWait("two", new MultiProvider([{ provider: flags }]));
    for (const domain of ["one", "two"]) {
      await withRun({ client: OpenFeature.getClient(domain), agent: "support-agent", userId: "u" }, (run) =>
        run.pin("support-agent", STABLE),
      );
    }
    expect(flags.outcomes().map(({ version }) => version)).toEqual([CANDIDATE, CANDIDATE]);
  });

  test("may fake every timer: nothing waits for one", async () => {
    vi.useFakeTimers();
    try {
      const flags = new TestProvider(ROLLOUT);
      await OpenFeature.setProviderAndWait("faked", flags);
      await withRun({ client: OpenFeature.getClient("faked"), agent: "support-agent" }, (run) =>
        run.pin("support-agent", STABLE),
      );
      await OpenFeature.clearProviders();
      expect(flags.outcomes()).toHaveLength(1);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  test("the main entry does not load it, and it loads neither a socket nor a test framework", async () => {
    const testing = await modulesOf("@flagback/provider/testing");
    const main = await modulesOf("@flagback/provider");
    expect(testing).toContain("provider/src/testing/test-provider.ts");
    expect(testing.filter((path) => /(^|\/)(connection|ws|vitest|jest)\//.test(path))).toEqual([]);
    expect(main).toContain("provider/src/provider.ts");
    expect(main.filter((path) => path.includes("/testing/"))).toEqual([]);
  });
});

/** Paths of everything that an import loads, from the repository's root. */
async function modulesOf(name: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: `import ${JSON.stringify(name)};`, resolveDir: import.meta.dirname },
    absWorkingDir: fileURLToPath(new URL("../../", import.meta.url)),
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    conditions: ["flagback:source"],
    ignoreAnnotations: true,
  });
  return Object.keys(metafile.inputs);
}
