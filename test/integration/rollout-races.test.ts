/**
 * Two who steer one rollout at the same time, against a real server: what each is answered, and what is true afterwards.
 */
import type { Alias, Problem } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ALIAS, CANDIDATE, exposing, type RolloutServer, STABLE } from "../support/rollout.ts";

const STAGES = [
  { name: "canary", percent: 5 },
  { name: "half", percent: 50 },
  { name: "full", percent: 100 },
] as const;

const BYPASS = { reason: "on", bypassGate: true };

test("a rollback and an advance at the same moment end in the rollback, whichever the server takes first", async () => {
  const order = fc.record({ advanceFirst: fc.boolean(), advances: fc.integer({ min: 1, max: 3 }) });
  await fc.assert(
    fc.asyncProperty(order, async ({ advanceFirst, advances }) => {
      const rollout = await exposing({ stages: [...STAGES] });
      const rollback = () => rollout.act("rollback", { reason: "bad" });
      const advance = () => rollout.act("advance", BYPASS);
      const asked = Array.from({ length: advances }, () => advance);
      const answers = await Promise.all(
        (advanceFirst ? [...asked, rollback] : [rollback, ...asked]).map((ask) => ask()),
      );
      expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
      await expectRolledBack(rollout);
      // Who came too late is told where the rollout stands.
      for (const { body } of answers.filter(({ status }) => status === 409)) {
        expect(["rollout_not_active", "stage_not_found"]).toContain((body as unknown as Problem).code);
        expect((body as unknown as Problem).state).toBeDefined();
      }
      await rollout.server.close();
    }),
    { numRuns: 6 },
  );
});

test("an advance after a rollback is refused with the state, what is possible from there, and who may", async () => {
  const rollout = await exposing({ stages: [...STAGES] });
  await rollout.act("rollback");
  const { status, body } = await rollout.act("advance", BYPASS);
  expect(status).toBe(409);
  expect(body).toMatchObject({
    code: "rollout_not_active",
    state: expect.stringMatching(/^(rolled_back|recovering)$/),
    possible: [
      {
        command: "start",
        role: "lead",
        leadsTo: "exposing",
        how: `flagback rollout start ${ALIAS} --candidate VERSION`,
      },
      { command: "roll-forward", role: "lead", leadsTo: "exposing" },
      { command: "unlock", role: "lead" },
    ],
  });
  await expectRolledBack(rollout);
});

test("of two leads who advance what they both saw, If-Match lets one through", async () => {
  const rollout = await exposing({ stages: [...STAGES] });
  const { headers } = await rollout.server.call("GET", `/v1/aliases/${ALIAS}`);
  const ifMatch = { "if-match": headers.get("etag") ?? "" };
  const answers = await Promise.all(
    [1, 2].map(() => rollout.server.call("POST", `/v1/aliases/${ALIAS}/advance`, BYPASS, { headers: ifMatch })),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  expect(answers.find(({ status }) => status === 409)?.body).toMatchObject({ code: "revision_conflict" });
  expect(await rollout.standing()).toMatchObject({ state: "exposing", weight: 50_000 });
});

test("a pause wins over an advance that comes after it, and a rollback over both", async () => {
  const rollout = await exposing({ stages: [...STAGES] });
  expect((await rollout.act("pause")).status).toBe(200);
  expect((await rollout.act("advance", BYPASS)).body).toMatchObject({ code: "gate_closed", state: "paused" });
  expect(await rollout.standing()).toMatchObject({ state: "paused", weight: 5_000 });
  // A stale If-Match is no reason to keep an emergency waiting.
  const late = { headers: { "if-match": '"1"' } };
  expect((await rollout.server.call("POST", `/v1/aliases/${ALIAS}/rollback`, { reason: "bad" }, late)).status).toBe(
    200,
  );
  await expectRolledBack(rollout);
});

test("however many people steer at once, weights sum to 100 %, and one rollback is one incident", async () => {
  const verb = fc.constantFrom("advance", "pause", "resume", "promote", "rollback");
  await fc.assert(
    fc.asyncProperty(fc.array(verb, { minLength: 2, maxLength: 12 }), async (verbs) => {
      const rollout = await exposing({ stages: [...STAGES] });
      const answers = await Promise.all(
        verbs.map((each) => rollout.act(each, each === "advance" ? BYPASS : { reason: "r" })),
      );
      for (const { status, body } of answers) {
        if (status !== 200) expect(body).toMatchObject({ state: expect.any(String), possible: expect.any(Array) });
      }
      const weights = Object.values(await rollout.allocation());
      expect(weights.reduce((sum, weight) => sum + weight, 0)).toBe(100_000);
      const isRolledBack = verbs.includes("rollback");
      expect(await rollout.incidents()).toHaveLength(isRolledBack ? 1 : 0);
      if (isRolledBack) await expectRolledBack(rollout);
      await rollout.server.close();
    }),
    { numRuns: 10 },
  );
});

async function expectRolledBack(rollout: RolloutServer): Promise<void> {
  const { body } = await rollout.server.call<Alias>("GET", `/v1/aliases/${ALIAS}`);
  expect(await rollout.allocation()).toEqual({ [STABLE]: 100_000 });
  expect(body.stable).toBe(STABLE);
  expect(body.locks.map((lock) => lock.version)).toEqual([CANDIDATE]);
  // With nobody connected every runtime follows at once.
  expect(["rolled_back", "recovering"]).toContain(body.rollout?.state);
  expect(await rollout.incidents()).toHaveLength(1);
  expect(await rollout.audit("rollback")).toHaveLength(1);
}
