/** `flagback rollout status --wait`: pipelines wait for a rollout's end and read it off the exit status. */
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { ALIAS, CANDIDATE, exposing, type RolloutServer, STABLE, successes } from "../support/rollout.ts";
import { fakeIo } from "./fake-io.ts";
import { type Answer, fakeServer, problem } from "./fake-server.ts";

const STATUS = {
  alias: ALIAS,
  state: "exposing",
  stage: "canary",
  candidate: CANDIDATE,
  target: STABLE,
  weight: 1_000,
  rolloutNumber: 3,
  hold: null,
  explanation: null,
  heldBackBy: null,
  evidence: [],
  logE: null,
  threshold: null,
  traffic: [],
  feedback: [],
};
const standing = (result: string | null): Answer => ({ body: { ...STATUS, waitedFor: { rolloutNumber: 3, result } } });

async function wait(url: string, ...args: string[]) {
  const io = fakeIo({ env: { FLAGBACK_URL: url } });
  return { status: await runCli(["rollout", "status", ALIAS, "--wait", ...args], io), ...io.written };
}

describe("the exit status is", () => {
  test.each([
    ["promoted", 0, "It is promoted."],
    ["rolled_back", 1, "It is rolled back."],
  ])("for %s %i", async (result, status, says) => {
    const { url, asked } = await fakeServer(() => standing(asked.length < 3 ? null : result));
    expect(await wait(url)).toMatchObject({ status, stdout: expect.stringContaining(says), stderr: "" });
    // The same rollout each time, also when another has begun meanwhile.
    expect(asked.map(({ query }) => query.get("rollout"))).toEqual([null, "3", "3"]);
    expect(asked.every(({ query }) => query.get("wait") === "settled")).toBe(true);
  });

  test("4 when the time is over", async () => {
    const { url } = await fakeServer(() => standing(null));
    expect(await wait(url, "--timeout", "50ms")).toMatchObject({ status: 4, stdout: expect.stringContaining("yet") });
  });

  test("3 when nobody answers at first, at once", async () => {
    expect(await wait("http://127.0.0.1:9", "--timeout", "1h")).toMatchObject({ status: 3 });
  });

  test("3 when nobody answers at the end", async () => {
    // The time is over with the second answer, however fast the machine is.
    let nowMs = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => nowMs);
    onTestFinished(() => clock.mockRestore());
    const { url, asked } = await fakeServer(() => {
      if (asked.length === 1) return standing(null);
      nowMs = 60_000;
      return { type: "text/html", body: "a proxy" };
    });
    const told = await wait(url, "--timeout", "1m");
    expect(told).toMatchObject({ status: 3, stderr: expect.stringContaining("Trying on.") });
  });

  test.each<[string, Answer]>([
    ["is away", { type: "text/html", body: "a proxy" }],
    ["has no room", problem(503, "overloaded", "There is no room.", "Come back.")],
  ])("what it comes to, where the server %s in between", async (_what, passing) => {
    const { url, asked } = await fakeServer(() => {
      if (asked.length === 2) return passing;
      return standing(asked.length < 4 ? null : "promoted");
    });
    expect(await wait(url)).toMatchObject({ status: 0, stderr: expect.stringContaining("Trying on.") });
  });

  test("1 for a refusal, and 2 for a time that is none", async () => {
    const { url } = await fakeServer(() => problem(404, "alias_not_found", "There is no alias x.", "Apply it."));
    expect(await wait(url)).toMatchObject({ status: 1, stderr: expect.stringContaining("alias_not_found") });
    expect(await wait(url, "--timeout", "soon")).toMatchObject({ status: 2 });
  });

  test("said in the help", async () => {
    const { stdout } = await wait("http://127.0.0.1:9", "--help");
    expect(stdout).toContain("0 promoted, 1 rolled back, 4 not yet, 3 no server answers");
  });
});

test("with --json the answer is one value, with what was waited for", async () => {
  const { url } = await fakeServer(() => standing("promoted"));
  const { stdout } = await wait(url, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ alias: ALIAS, waitedFor: { rolloutNumber: 3, result: "promoted" } });
});

describe("against a real server", () => {
  const end = async (rollout: RolloutServer, act: () => Promise<unknown>) => {
    const { url, adminToken } = rollout.server;
    const io = fakeIo({ env: { FLAGBACK_URL: url, FLAGBACK_TOKEN: adminToken } });
    const waiting = runCli(["rollout", "status", ALIAS, "--wait"], io);
    await act();
    return { status: await waiting, ...io.written };
  };

  test("a rollback ends the wait, and the server answers others meanwhile", async () => {
    const rollout = await exposing();
    const told = await end(rollout, async () => {
      expect((await rollout.server.call("GET", "/readyz")).status).toBe(200);
      expect((await rollout.act("rollback")).status).toBe(200);
    });
    expect(told).toMatchObject({ status: 1, stdout: expect.stringContaining("It is rolled back.") });
  });

  test("a promotion ends the wait, a pause does not", async () => {
    const rollout = await exposing({ stages: [{ name: "full", percent: 100 }] });
    const runtime = await rollout.runtime();
    await runtime.report({ candidate: successes(200), stable: successes(10) });
    const told = await end(rollout, async () => {
      await rollout.act("pause");
      await rollout.act("resume");
      expect((await rollout.act("promote")).status).toBe(200);
    });
    expect(told).toMatchObject({ status: 0, stdout: expect.stringContaining("It is promoted.") });
  });

  test("an earlier rollout is told as it ended, when another has begun", async () => {
    const rollout = await exposing();
    await rollout.act("rollback");
    await rollout.act("unlock", { version: CANDIDATE, reason: "again", rootCause: "a test" });
    await rollout.act("roll-forward", { version: CANDIDATE, reason: "again" });
    const ask = async (query: string) =>
      (
        await rollout.server.call<{ waitedFor: unknown }>(
          "GET",
          `/v1/aliases/${ALIAS}/rollout?wait=settled&timeoutMs=0${query}`,
        )
      ).body.waitedFor;
    expect(await ask("&rollout=1")).toEqual({ rolloutNumber: 1, result: "rolled_back" });
    expect(await ask("")).toEqual({ rolloutNumber: 2, result: null });
    expect(await ask("&rollout=9")).toEqual({ rolloutNumber: 9, result: null });
  });

  test("a server that stops lets go who waits", async () => {
    const rollout = await exposing();
    const { url, adminToken } = rollout.server;
    const answer = fetch(`${url}/v1/aliases/${ALIAS}/rollout?wait=settled`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    const told = Promise.allSettled([answer]);
    await rollout.server.call("GET", "/readyz");
    await rollout.server.close();
    await told;
  });
});
