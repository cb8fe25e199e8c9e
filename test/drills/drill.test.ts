/** A drill on a real server, with real runtimes in processes of their own. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Drill, GateAnswer } from "@flagback/schemas";
import { describe, expect, onTestFinished, test } from "vitest";
import { ALIAS, CANDIDATE, DRILL_TIMEOUT_MS, drill, drilledServer, failures, STABLE } from "./drilled.ts";

describe("a drill", () => {
  test(
    "passes on a fresh server, and leaves the alias, its counts and its switches as they were",
    async () => {
      const server = await drilledServer();
      const look = async () => ({
        alias: (await server.call("GET", `/v1/aliases/${ALIAS}`)).body,
        aliases: (await server.call("GET", "/v1/aliases")).body,
        versions: (await server.call("GET", "/v1/versions")).body,
        switches: (await server.call("GET", "/v1/kill-switches")).body,
        incidents: (await server.call("GET", "/v1/incidents")).body,
        tokens: (await server.call("GET", "/v1/tokens")).body,
      });
      const before = await look();

      const record = await drill(server);

      expect(failures(record)).toEqual([]);
      expect(record).toMatchObject({
        state: "passed",
        alias: ALIAS,
        candidate: CANDIDATE,
        target: STABLE,
        kind: "prompt",
        targetMs: 300_000,
        startedBy: "first admin",
        times: [{ fault: "errors", rollbackMs: expect.any(Number), convergeMs: expect.any(Number) }],
        incidents: [expect.stringMatching(/^inc_/)],
      });
      expect(await look()).toEqual(before);
      expect(await server.call("GET", "/v1/runtimes")).toMatchObject({ body: { runtimes: [] } });
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "tells the webhooks that it is one, and asks the one on call where the policy leaves the decision to people",
    async () => {
      const heard: { drill?: boolean; text: string }[] = [];
      const receiver = createServer(async (request, response) => {
        heard.push(JSON.parse(await text(request)));
        response.end();
      });
      await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void receiver.close());
      const server = await drilledServer({ guardrails: [{ metric: "error_rate", max: 0.05, mode: "approval" }] });
      const { port } = receiver.address() as AddressInfo;
      await server.call("POST", "/v1/webhooks", { url: `http://127.0.0.1:${port}/alerts` });
      const onCall = await server.token("operator");

      const record = await drill(server, {}, { operatorToken: onCall });

      expect(failures(record)).toEqual([]);
      const detected = record.steps.find(({ name }) => name === "detect");
      expect(detected?.why).toContain("the policy leaves it to a person (approval), and the one on call rolled back");
      expect(heard.map(({ text: said }) => said)).toContainEqual(expect.stringMatching(/^Drill: Rollback triggered/));
      expect(heard.filter((alert) => alert.drill !== true)).toEqual([]);
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "fails where the token of the one on call may not roll back",
    async () => {
      const server = await drilledServer();
      const record = await drill(server, {}, { operatorToken: await server.token("viewer") });
      expect(failures(record)).toEqual([
        { name: "operator", why: expect.stringContaining("may not POST /v1/aliases/:name/rollback") },
      ]);
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "rehearses every fault that the policy has a guardrail for, and names the others",
    async () => {
      const server = await drilledServer({
        guardrails: [
          { metric: "error_rate", max: 0.05 },
          { metric: "tool_failure_rate", max: 0.03 },
        ],
      });
      const record = await drill(server, { faults: "all" });
      expect(failures(record)).toEqual([]);
      expect(record.faults).toEqual(["errors", "tool_failures", "silence", "crash"]);
      expect(record.adjustments).toContain("latency was not rehearsed: no guardrail that can decide looks at it.");
      expect(record.incidents).toHaveLength(4);
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "is refused while another of the same alias runs, and ends with its processes and its tokens when it is interrupted",
    async () => {
      const server = await drilledServer();
      const interrupted = new AbortController();
      let second: Promise<unknown> | undefined;
      const first = drill(
        server,
        {},
        {
          signal: interrupted.signal,
          onStep: ({ name }) => {
            if (name !== "outcomes") return;
            second = drill(server).catch((error) => error);
            void second.finally(() => interrupted.abort());
          },
        },
      );
      const record = await first;
      expect(await second).toMatchObject({
        code: "drill_in_progress",
        message: "Drill 1 of support-agent, started by first admin is under way.",
      });
      expect(record).toMatchObject({ state: "abandoned", because: "it was interrupted" });

      const shadow = await server.call("GET", "/v1/aliases/drill.support-agent");
      expect(shadow.body).toMatchObject({ stable: null, candidates: [], policy: null, locks: [], rollout: null });
      expect(await server.call("GET", "/v1/runtimes")).toMatchObject({ body: { runtimes: [] } });
      const { body } = await server.call<{ drills: Drill[] }>("GET", "/v1/drills?alias=support-agent");
      expect(body.drills.map(({ state }) => state)).toEqual(["abandoned"]);
    },
    DRILL_TIMEOUT_MS,
  );

  test("that nobody ends is ended by the server's next start, and its tokens are gone", async () => {
    const server = await drilledServer();
    const started = await server.call<{ drill: Drill; tokens: { operator: string } }>("POST", "/v1/drills", {
      alias: ALIAS,
    });
    const { operator } = started.body.tokens;
    expect((await server.call("GET", "/v1/aliases", undefined, { token: operator })).status).toBe(200);

    const again = await server.restart();

    const { body } = await again.call<Drill>("GET", "/v1/drills/drill_1");
    expect(body).toMatchObject({ state: "abandoned", because: "the server was started again while it ran" });
    expect((await again.call("GET", "/v1/aliases/drill.support-agent")).body).toMatchObject({ stable: null });
    expect((await again.call("GET", "/v1/aliases", undefined, { token: operator })).status).toBe(401);
    expect(await again.call("POST", "/v1/drills/drill_1/steps", { steps: [] })).toMatchObject({
      status: 409,
      body: { code: "drill_not_running" },
    });
  });

  test(
    "opens the way of a rollout whose policy demands it, and only that one",
    async () => {
      const server = await drilledServer({
        requireDrill: "perRelease",
        stages: [
          { name: "canary", percent: 5 },
          { name: "full", percent: 100 },
        ],
      });
      const start = (candidate: string) => server.call("POST", `/v1/aliases/${ALIAS}/rollout`, { candidate });
      expect(await start(CANDIDATE)).toMatchObject({ status: 409, body: { code: "drill_required" } });

      expect((await drill(server)).state).toBe("passed");

      await server.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be quick." } });
      expect(await start("support-agent@2.5.0")).toMatchObject({ status: 409, body: { code: "drill_required" } });
      expect((await start(CANDIDATE)).status).toBe(200);
      const gate = await server.call<GateAnswer>("GET", `/v1/aliases/${ALIAS}/gate`);
      expect(gate.body.conditions.find(({ condition }) => condition === "drill")).toMatchObject({
        isMet: true,
        why: expect.stringContaining("a drill of this candidate and this rollback target passed"),
      });
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "counts nothing for the alias, while the alias itself is under rollout",
    async () => {
      const server = await drilledServer();
      await server.call("POST", `/v1/aliases/${ALIAS}/rollout`, { candidate: CANDIDATE });
      const record = await drill(server);
      expect(failures(record)).toEqual([]);
      const { body } = await server.call("GET", `/v1/aliases/${ALIAS}/rollout`);
      expect(body).toMatchObject({
        state: "exposing",
        candidate: CANDIDATE,
        traffic: [
          { assigned: 0, settled: 0 },
          { assigned: 0, settled: 0 },
        ],
      });
      const metrics = await server.call<string>("GET", "/metrics");
      expect(metrics.body).not.toContain("drill.support-agent");
      expect(metrics.body).toContain('flagback_rollbacks_total{alias="support-agent",by="brain"} 0');
      expect(metrics.body).toMatch(
        /flagback_last_drill_timestamp_seconds\{alias="support-agent",result="pass"\} [1-9]/,
      );
    },
    DRILL_TIMEOUT_MS,
  );
});
