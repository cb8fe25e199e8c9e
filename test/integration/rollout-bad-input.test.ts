/**
 * What people get wrong, over HTTP: each is refused with the place and the reason, and changes nothing.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alias, Problem } from "@flagback/schemas";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openServer, SUPPORT_AGENT, type TestServer } from "../support/server.ts";

const ALIAS = "/v1/aliases/support-agent";
const STABLE = "support-agent@2.3.3";
const GUARDRAILS = [{ metric: "error_rate", max: 0.05 }];

let dataDir: string;
let server: TestServer;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "flagback-test-"));
  server = await openServer({ dataDir });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
});

afterAll(async () => {
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

const stages = (...percents: number[]) => percents.map((percent, n) => ({ name: `s${n}`, percent }));

test.each([
  [
    "stages that go down",
    { stages: stages(25, 5) },
    "policy_invalid",
    "stages: percents must grow from stage to stage, not 25, 5",
  ],
  ["two stages alike", { stages: stages(5, 5) }, "policy_invalid", "stages: percents must grow"],
  ["a stage over 100 %", { stages: stages(5, 101) }, "bad_request", "policy.stages[1].percent"],
  ["a stage of 0 %", { stages: stages(0, 100) }, "bad_request", "policy.stages[0].percent"],
  ["no stage at all", { stages: [] }, "bad_request", "policy.stages"],
  [
    "a soak of zero with advance: auto",
    { advance: "auto", stages: stages(5, 100) },
    "policy_invalid",
    "stages: s0 needs a soak above zero",
  ],
  [
    "a soak that is no time",
    { stages: [{ name: "a", percent: 5, soak: "soon" }] },
    "bad_request",
    "policy.stages[0].soak",
  ],
  [
    "a fast track that goes down",
    { fastTrack: { stages: stages(50, 5) } },
    "policy_invalid",
    "fastTrack.stages: percents",
  ],
  [
    "a fast track without a soak and advance: auto",
    { advance: "auto", fastTrack: { stages: stages(5, 100) } },
    "policy_invalid",
    "fastTrack.stages: s0 needs a soak above zero",
  ],
] as const)("a policy with %s is refused by its path", async (_, part, code, problem) => {
  const before = (await server.call<Alias>("GET", ALIAS)).body;
  const { status, body } = await server.call<Problem>("PUT", ALIAS, { policy: { guardrails: GUARDRAILS, ...part } });
  expect([status, body.code]).toEqual([400, code]);
  expect([body.detail, ...(body.problems ?? [])].join("\n")).toContain(problem);
  expect((await server.call<Alias>("GET", ALIAS)).body).toEqual(before);
});

test.each([
  ["a rollout of the stable version", "rollout", { candidate: STABLE }, 409, "candidate_equals_stable"],
  [
    "a roll-forward of the stable version",
    "roll-forward",
    { version: STABLE, reason: "r" },
    409,
    "candidate_equals_stable",
  ],
  ["a roll-forward without a reason", "roll-forward", { version: "support-agent@2.4.0" }, 400, "bad_request"],
  [
    "a roll-forward to more than everything",
    "roll-forward",
    { version: STABLE, percent: 101, reason: "r" },
    400,
    "bad_request",
  ],
  ["an unlock without a reason", "unlock", { version: STABLE }, 400, "bad_request"],
  ["an unlock with an empty reason", "unlock", { version: STABLE, reason: "  " }, 400, "bad_request"],
  ["an unlock of what is not locked", "unlock", { version: STABLE, reason: "r" }, 409, "no_lock"],
  ["a lock without a reason", "lock", { version: STABLE }, 400, "bad_request"],
  ["a lock of the stable version", "lock", { version: STABLE, reason: "r" }, 409, "version_in_use"],
  ["an advance from a stage by a number", "advance", { reason: "r", fromStage: 1 }, 400, "bad_request"],
] as const)("%s is refused", async (_, verb, body, status, code) => {
  const before = (await server.call<Alias>("GET", ALIAS)).body;
  const answer = await server.call<Problem>("POST", `${ALIAS}/${verb}`, body);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
  expect((await server.call<Alias>("GET", ALIAS)).body).toEqual(before);
});

test("an end that is past is refused with both moments", async () => {
  const past = { reason: "r", until: "2020-01-01T00:00:00.000Z" };
  const { status, body } = await server.call<Problem>("POST", "/v1/kill-switches/writes_disabled/engage", past);
  expect(status).toBe(400);
  expect(body.detail).toContain("until is 2020-01-01T00:00:00.000Z, which is not in the future");
});
