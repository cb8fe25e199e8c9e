import { describe, expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "./fake-io.ts";
import { changeAnswer, fakeServer, problem } from "./fake-server.ts";

describe("address and token", () => {
  test("come from the environment, and options win over it", async () => {
    const { url, asked } = await fakeServer(() => ({ body: { runtimes: [] } }));
    const env = { FLAGBACK_URL: url, FLAGBACK_TOKEN: "fb_viewer_a_b" };
    await runCli(["runtimes"], fakeIo({ env }));
    await runCli(["runtimes", "--token", "fb_admin_c_d"], fakeIo({ env }));
    expect(asked.map((one) => one.headers.authorization)).toEqual(["Bearer fb_viewer_a_b", "Bearer fb_admin_c_d"]);
  });

  test("keep the path of a server behind a proxy", async () => {
    const { url, asked } = await fakeServer(() => ({ body: { runtimes: [] } }));
    await runCli(["runtimes", "--url", `${url}/flags`], fakeIo());
    expect(asked[0]?.path).toBe("/flags/v1/runtimes");
  });
});

const DIGEST = "ab".repeat(32);

describe("apply", () => {
  const files = { "flags.yaml": "aliases: {}\n" };
  const step = {
    action: "register",
    target: "version:a@1",
    changes: [{ path: "payload", from: null, to: {} }],
    note: "a@1 is only named, so its payload is empty",
  };
  const server = (plan: object[]) =>
    fakeServer(({ query }) => ({ body: { applied: !query.has("dryRun"), revision: 4, plan, planDigest: DIGEST } }));
  const dryRuns = (asked: readonly { query: URLSearchParams }[]) => asked.map(({ query }) => query.get("dryRun"));

  test("refuses to change anything when nobody can be asked, and hints at --yes", async () => {
    const { url, asked } = await server([step]);
    const io = fakeIo({ files });
    expect(await runCli(["apply", "-f", "flags.yaml", "--url", url], io)).toBe(2);
    expect(dryRuns(asked)).toEqual(["true"]);
    expect(io.written.stderr).toContain("--yes");
    expect(io.written.stdout).toContain("+ register version:a@1");
    expect(io.written.stdout).toContain("its payload is empty");
  });

  test("shows the plan first and applies it with --yes", async () => {
    const { url, asked } = await server([step]);
    const io = fakeIo({ files });
    expect(await runCli(["apply", "-f", "flags.yaml", "--yes", "--url", url], io)).toBe(0);
    expect(dryRuns(asked)).toEqual(["true", null]);
    // What was shown is what is carried out.
    expect(asked[1]?.headers["if-match"]).toBe(`"${DIGEST}"`);
    for (const { body } of asked) {
      expect(JSON.parse(body)).toEqual({ files: [{ name: "flags.yaml", text: files["flags.yaml"] }] });
    }
    expect(io.written.stdout).toMatch(/Applied \(revision 4\)\.\n$/);
  });

  test("applies nothing when the answer is no, and says so with status 1", async () => {
    const { url, asked } = await server([step]);
    const io = fakeIo({ files, isInteractive: true, reply: "no" });
    expect(await runCli(["apply", "-f", "flags.yaml", "--url", url], io)).toBe(1);
    expect(io.questions).toEqual(["Apply this? [y/N] "]);
    expect(dryRuns(asked)).toEqual(["true"]);
  });

  test("asks nothing where nothing would change", async () => {
    const { url, asked } = await server([{ ...step, action: "unchanged", changes: [] }]);
    const io = fakeIo({ files, isInteractive: true });
    expect(await runCli(["apply", "-f", "flags.yaml", "--url", url], io)).toBe(0);
    expect(io.questions).toEqual([]);
    expect(dryRuns(asked)).toEqual(["true"]);
  });

  test("passes on every problem that the server found in the file", async () => {
    const refusal = problem(400, "unknown_key", "aliases.a.policy: unknown key guardrail.", "Did you mean guardrails?");
    const { url } = await fakeServer(() => ({
      ...refusal,
      body: { ...(refusal.body as object), problems: ["one", "two"] },
    }));
    const io = fakeIo({ files });
    expect(await runCli(["apply", "-f", "flags.yaml", "--url", url], io)).toBe(1);
    expect(io.written.stderr).toContain("  - one\n  - two\nhint  Did you mean guardrails?");
  });
});

describe("register", () => {
  test.each([
    { given: '{"model":"m"}', sent: { model: "m" } },
    { given: "payload.yaml", sent: { prompt: "hello" } },
  ])("takes a payload as JSON or from a file: $given", async ({ given, sent }) => {
    const { url, asked } = await fakeServer(() => ({
      body: { version: { digest: "ab".repeat(32) }, change: { summary: "registered" } },
    }));
    const io = fakeIo({ files: { "payload.yaml": "prompt: hello\n" } });
    const args = ["register", "a@1", "--payload", given, "--kind", "prompt", "--label", "team=x", "--label", "tier=1"];
    expect(await runCli([...args, "--url", url], io)).toBe(0);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      id: "a@1",
      kind: "prompt",
      labels: { team: "x", tier: "1" },
      payload: sent,
    });
  });
});

describe("changes", () => {
  test.each([
    {
      args: ["kill", "engage", "writes_disabled", "--scope", "agent=a", "--reason", "r"],
      path: "/v1/kill-switches/writes_disabled/engage",
      body: { scope: "agent=a", reason: "r" },
    },
    {
      args: ["kill", "release", "writes_disabled", "--reason", "r"],
      path: "/v1/kill-switches/writes_disabled/release",
      body: { scope: "*", reason: "r" },
    },
    {
      args: ["rollout", "start", "a", "--stage", "validation"],
      path: "/v1/aliases/a/rollout",
      body: { stage: "validation", reason: "" },
    },
    {
      args: ["rollout", "advance", "a", "--from", "canary", "--bypass-gate", "--reason", "r"],
      path: "/v1/aliases/a/advance",
      body: { reason: "r", bypassGate: true, fromStage: "canary" },
    },
    {
      args: ["rollout", "forward", "a", "a@3", "--percent", "25", "--reason", "r"],
      path: "/v1/aliases/a/roll-forward",
      body: { version: "a@3", percent: 25, reason: "r" },
    },
    { args: ["rollback", "a", "--reason", "r"], path: "/v1/aliases/a/rollback", body: { reason: "r" } },
    {
      args: ["rollback", "a", "b", "--reason", "r"],
      path: "/v1/rollbacks",
      body: { aliases: ["a", "b"], reason: "r" },
    },
    {
      args: ["rollback", "--release", "summer", "--reason", "r"],
      path: "/v1/rollbacks",
      body: { release: "summer", reason: "r" },
    },
    {
      args: ["lock", "a", "a@2", "--reason", "r"],
      path: "/v1/aliases/a/lock",
      body: { version: "a@2", reason: "r" },
    },
    {
      args: ["approve", "0123456789ab", "--reason", "r"],
      path: "/v1/decisions/0123456789ab/approve",
      body: { reason: "r" },
    },
    {
      args: ["reject", "0123456789ab", "--reason", "r"],
      path: "/v1/decisions/0123456789ab/reject",
      body: { reason: "r" },
    },
    { args: ["rollout", "pause", "a", "--reason", "r"], path: "/v1/aliases/a/pause", body: { reason: "r" } },
    { args: ["rollout", "resume", "a", "--reason", "r"], path: "/v1/aliases/a/resume", body: { reason: "r" } },
    { args: ["rollout", "promote", "a", "--reason", "r"], path: "/v1/aliases/a/promote", body: { reason: "r" } },
    {
      args: ["unlock", "a", "a@2", "--reason", "r"],
      path: "/v1/aliases/a/unlock",
      body: { version: "a@2", reason: "r" },
    },
    {
      args: ["unlock", "a", "ab".repeat(32), "--reason", "r"],
      path: "/v1/aliases/a/unlock",
      body: { digest: "ab".repeat(32), reason: "r" },
    },
  ])("$args asks the server for exactly that", async ({ args, path, body }) => {
    const { url, asked } = await fakeServer(() => changeAnswer("done"));
    expect(await runCli([...args, "--url", url], fakeIo())).toBe(0);
    expect(asked[0]).toMatchObject({ method: "POST", path });
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual(body);
  });

  test("an advance names the stage that the rollout is at, so that two at once pass none by", async () => {
    const { url, asked } = await fakeServer(({ method }) =>
      method === "GET" ? { body: { rollout: { stage: "validation" } } } : changeAnswer("done"),
    );
    expect(await runCli(["rollout", "advance", "a", "--reason", "r", "--url", url], fakeIo())).toBe(0);
    expect(asked.map(({ method, path }) => [method, path])).toEqual([
      ["GET", "/v1/aliases/a"],
      ["POST", "/v1/aliases/a/advance"],
    ]);
    expect(JSON.parse(asked[1]?.body ?? "")).toEqual({ reason: "r", bypassGate: false, fromStage: "validation" });
  });

  test.each([
    { args: ["rollback", "--reason", "r"], says: "Name aliases or a release" },
    { args: ["rollback", "a", "--release", "summer", "--reason", "r"], says: "and not both" },
    { args: ["rollout", "forward", "a", "a@3", "--percent", "101", "--reason", "r"], says: "up to 100" },
  ])("$args is bad use, and asks the server nothing", async ({ args, says }) => {
    const { url, asked } = await fakeServer(() => changeAnswer("done"));
    const io = fakeIo();
    expect(await runCli([...args, "--url", url], io)).toBe(2);
    expect(io.written.stderr).toContain(says);
    expect(asked).toEqual([]);
  });

  test("with --wait say how many runtimes applied them", async () => {
    const propagation = { revision: 7, runtimes: 3, acknowledged: 3, lapsed: 0, p50Ms: 2, p99Ms: 4.26 };
    const { url, asked } = await fakeServer(() => {
      const answer = changeAnswer("done");
      return { body: { ...(answer.body as object), propagation } };
    });
    const io = fakeIo();
    await runCli(["stop", "--reason", "r", "--wait", "--url", url], io);
    expect(asked[0]?.query.get("wait")).toBe("applied");
    expect(io.written.stdout).toBe("done (revision 7)\napplied by 3 of 3 runtimes, p99 4.3 ms\n");
  });
});
