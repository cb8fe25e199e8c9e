/** Feedback: what is said about a run that can no longer be judged. */
import type { FeedbackSummary } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const STABLE = "support-agent@2.3.3";
const CANDIDATE = "support-agent@2.4.0";

const said = (id: string, over: object = {}) => ({
  id,
  runId: `run of ${id}`,
  alias: "support-agent",
  version: CANDIDATE,
  quality: 0.5,
  ...over,
});

test("is stored and shown, newest first, with its count and mean quality by version", async () => {
  const { server, send } = await exposing();
  const answer = await send(
    said("f1", { quality: 0.2, status: "escalated" }),
    said("f2", { quality: 0.6, attributes: { channel: "mail" } }),
    said("f3", { version: STABLE, quality: undefined, safetyFlags: ["pii_leak"] }),
  );
  expect(answer).toMatchObject({ status: 200, body: { accepted: 3, duplicates: 0, rejected: [] } });
  const { body } = await server.call<{ feedback: object[] }>("GET", "/v1/feedback");
  expect(body.feedback).toMatchObject([
    { id: "f3", version: STABLE, safetyFlags: ["pii_leak"] },
    { id: "f2", attributes: { channel: "mail" } },
    { id: "f1", runId: "run of f1", status: "escalated", receivedAt: expect.stringMatching(/Z$/) },
  ]);
  const summaries = [
    { version: STABLE, count: 1, quality: null },
    // (0.2 + 0.6) / 2.
    { version: CANDIDATE, count: 2, quality: 0.4 },
  ];
  expect(await summariesOf(server)).toEqual(summaries);
  const { body: rollout } = await server.call("GET", "/v1/aliases/support-agent/rollout");
  expect(rollout.feedback).toEqual(summaries);
});

test("is found by alias, version and run, and page by page", async () => {
  const { server, send } = await exposing();
  await send(said("f1"), said("f2", { version: STABLE }), said("f3"), said("f4"));
  const ids = async (query: string) => {
    const { body } = await server.call<{ feedback: { id: string; number: number }[] }>("GET", `/v1/feedback?${query}`);
    return body.feedback.map(({ id }) => id);
  };
  expect(await ids(`version=${CANDIDATE}`)).toEqual(["f4", "f3", "f1"]);
  expect(await ids("runId=run%20of%20f2")).toEqual(["f2"]);
  expect(await ids("alias=nobody")).toEqual([]);
  const { body } = await server.call<{ feedback: { number: number }[] }>("GET", "/v1/feedback?limit=2");
  expect(await ids(`before=${body.feedback[1]?.number}`)).toEqual(["f2", "f1"]);
});

test("that is sent again is stored once, also after a restart", async () => {
  const { server, send, token } = await exposing();
  await send(said("f1"));
  expect((await send(said("f1", { quality: 1 }), said("f2"), said("f2"))).body).toMatchObject({
    accepted: 1,
    duplicates: 2,
  });
  const restarted = await server.restart();
  const repeated = await restarted.call("POST", "/v1/feedback", { feedback: [said("f1"), said("f2")] }, { token });
  expect(repeated.body).toMatchObject({ accepted: 0, duplicates: 2 });
  expect(await summariesOf(restarted)).toEqual([{ version: CANDIDATE, count: 2, quality: 0.5 }]);
});

test("says nothing to the brain: however bad, nothing is judged or counted", async () => {
  const { server, send } = await exposing();
  await send(...Array.from({ length: 200 }, (_, i) => said(`f${i}`, { quality: 0, status: "failure" })));
  const { body } = await server.call("GET", "/v1/aliases/support-agent/rollout");
  expect(body).toMatchObject({ state: "exposing", verdict: null });
  expect(body.traffic).toMatchObject([
    { assigned: 0, settled: 0 },
    { assigned: 0, settled: 0 },
  ]);
});

test("of which an item can't be taken is taken without it, and each refusal names its index", async () => {
  const { send } = await exposing();
  const answer = await send(
    said("good"),
    said("", {}),
    said("f2", { quality: 7 }),
    said("f3", { quality: undefined }),
    said("f4", { comment: "it was rude to me" }),
    said("f5", { alias: "nobody" }),
    said("f6", { version: "support-agent@9" }),
    null,
  );
  expect(answer.body).toMatchObject({
    accepted: 1,
    rejected: [
      { index: 1, code: "feedback_invalid", message: expect.stringContaining("id") },
      { index: 2, code: "feedback_invalid", message: expect.stringContaining("quality") },
      { index: 3, code: "feedback_invalid", message: expect.stringContaining("says nothing") },
      { index: 4, code: "feedback_invalid", message: expect.stringContaining("comment") },
      { index: 5, code: "alias_not_found" },
      { index: 6, code: "version_not_found" },
      { index: 7, code: "feedback_invalid" },
    ],
  });
});

test("is taken about the aliases of the token that sends it, and no others", async () => {
  const { server } = await exposing();
  const token = await server.token("runtime", ["planner"]);
  const answer = await server.call("POST", "/v1/feedback", { feedback: [said("f1")] }, { token });
  expect(answer.body).toMatchObject({ accepted: 0, rejected: [{ index: 0, code: "forbidden" }] });
});

test("is also an outcome by HTTP that comes when its time to be judged is over, once", async () => {
  const clock = new MovedClock();
  const { server, token } = await exposing("outcomeTimeout: 60s", { clock });
  const outcome = {
    alias: "support-agent",
    version: CANDIDATE,
    status: "failure",
    quality: 0.1,
    startedAt: new Date().toISOString(),
  };
  const report = async (runId: string) => {
    const outcomes = [{ ...outcome, runId }];
    return (await server.call("POST", "/v1/outcomes", { outcomes }, { token })).body;
  };
  const feedback = async () => (await server.call<{ feedback: object[] }>("GET", "/v1/feedback")).body.feedback;
  expect(await report("in time")).toEqual({ accepted: 1, duplicates: 0, rejected: [] });
  expect(await feedback()).toEqual([]);
  clock.passSeconds(62);
  expect(await report("too late")).toMatchObject({ accepted: 1 });
  expect(await report("too late")).toMatchObject({ accepted: 0, duplicates: 1 });
  expect(await feedback()).toMatchObject([{ runId: "too late", status: "failure", quality: 0.1 }]);
});

test("is also an outcome by the stream whose run was given up before", async () => {
  const { server, token } = await exposing("outcomeTimeout: 1s");
  const runtime = await RawRuntime.connect(server.url, token);
  runtime.send({
    type: "outcomes",
    seq: 1,
    assigned: [{ alias: "support-agent", version: CANDIDATE, revision: 1_000, n: 1 }],
    items: [],
  });
  await eventually("the run is missing", async () => {
    const { body } = await server.call<{ traffic: { missing: number }[] }>("GET", "/v1/aliases/support-agent/rollout");
    return body.traffic.some(({ missing }) => missing === 1);
  });
  const item = {
    assignedSeq: 1,
    runId: "r1",
    alias: "support-agent",
    version: CANDIDATE,
    status: "success",
    quality: 0.9,
  };
  runtime.send({ type: "outcomes", seq: 2, assigned: [], items: [item, { ...item, status: "odd" }] });
  const { rejected } = await runtime.next("outcomesAck", ({ through }) => through === 2);
  expect(rejected).toMatchObject([{ code: "no_assignment" }, { code: "outcome_invalid" }]);
  const feedback = await eventually("it is stored", async () => {
    const { body } = await server.call<{ feedback: object[] }>("GET", "/v1/feedback");
    return body.feedback.length > 0 && body.feedback;
  });
  expect(feedback).toMatchObject([{ id: "outcome:r1", runId: "r1", status: "success", quality: 0.9 }]);
});

test("is kept within a bound for each alias: the oldest goes, and the metric counts it", async () => {
  const { server, send } = await exposing();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT.replaceAll("support-agent", "planner"));
  await send(said("kept", { alias: "planner", version: "planner@2.4.0" }));
  // 20 000 are kept of an alias.
  for (let batch = 0; batch < 41; batch++) {
    await send(...Array.from({ length: 500 }, (_, i) => said(`f${batch * 500 + i}`)));
  }
  expect(await summariesOf(server)).toMatchObject([{ version: CANDIDATE, count: 20_000 }]);
  const { body: all } = await server.call<{ feedback: { id: string }[] }>("GET", "/v1/feedback?alias=planner");
  expect(all.feedback.map(({ id }) => id)).toEqual(["kept"]);
  const { body: oldest } = await server.call<{ feedback: object[] }>("GET", "/v1/feedback?runId=run%20of%20f499");
  expect(oldest.feedback).toEqual([]);
  const { body: metrics } = await server.call<string>("GET", "/metrics");
  expect(metrics).toContain('flagback_dropped_total{reason="feedback"} 500');
  expect(metrics).toContain('flagback_feedback_total{result="accepted"} 20501');
});

test("is in the command line's answers: the latest, an alias's, and a rollout's by version", async () => {
  const { server, send } = await exposing();
  await send(said("f1", { quality: 0.25 }), said("f2", { quality: 0.5 }));
  const flagback = async (...args: string[]) => {
    const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
    expect(await runCli(args, io)).toBe(0);
    return io.written.stdout;
  };
  expect(await flagback("get", "feedback")).toMatch(/RECEIVED.*\n.*support-agent@2\.4\.0 +run of f2 +0\.5\n/);
  expect(await flagback("get", "feedback", "support-agent")).toContain("quality: 0.375");
  expect(await flagback("get", "aliases", "support-agent")).toContain("quality: 0.375");
  const status = await flagback("rollout", "status", "support-agent");
  expect(status).toMatch(/FEEDBACK +QUALITY\n/);
  expect(status).toMatch(/support-agent@2\.4\.0 +0 +0 +0 +2 +0\.38\n/);
});

async function exposing(policy = "alpha: 0.01", options: Parameters<typeof testServer>[0] = {}) {
  const server = await testServer(options);
  await server.call("POST", "/v1/apply", SUPPORT_AGENT.replace("stages:", `${policy}\n      stages:`));
  await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: CANDIDATE });
  const token = await server.token("runtime");
  const send = (...feedback: unknown[]) => server.call("POST", "/v1/feedback", { feedback }, { token });
  return { server, token, send };
}

async function summariesOf(server: TestServer): Promise<readonly FeedbackSummary[]> {
  const { body } = await server.call<{ feedback: FeedbackSummary[] }>("GET", "/v1/aliases/support-agent");
  return body.feedback;
}
