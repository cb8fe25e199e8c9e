/**
 * What happens after a rollback, with the real server and the real provider: verification, release, escalation (DESIGN 7).
 */
import type { Outcome } from "@flagback/schemas";
import { expect, test } from "vitest";
import {
  agent,
  alertsOf,
  counted,
  ENOUGH_FOR_PROOF,
  failUntilRolledBack,
  inState,
  rollbackReached,
  run,
  runsThatWrite,
} from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, eventually, exposing, STABLE } from "../support/rollout.ts";

const OTHER = "billing-agent";

test("an agent whose every run writes is let write again once stable is proven healthy, and every time is recorded", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const agents = [await agent(rollout, "one"), await agent(rollout, "two")];
  await failUntilRolledBack(rollout, agents);
  const [incident] = await rollout.incidents();
  for (const { provider } of agents) {
    await eventually("writes are blocked", () => !provider.writesAllowed({ agent: ALIAS }));
  }

  const written = await runsThatWrite(agents, ENOUGH_FOR_PROOF);
  expect(written).toBe(0);
  clock.passSeconds(5);
  const recovered = await inState(rollout, "recovered");

  for (const { provider } of agents) {
    await eventually("writes are allowed again", () => provider.writesAllowed({ agent: ALIAS }));
  }
  expect(await rollout.engaged()).toEqual([]);
  expect(await runsThatWrite(agents, 1)).toBe(2);
  expect(recovered).toMatchObject({ id: incident?.id, candidate: CANDIDATE, target: STABLE });
  const { detectMs, decideMs, commitMs, convergeMs, recoverMs } = recovered.timings;
  for (const ms of [detectMs, decideMs, commitMs, convergeMs]) expect(ms).toBeGreaterThanOrEqual(0);
  // The clock was moved by 5 s between the commit and the proof.
  expect(recoverMs).toBeGreaterThanOrEqual(5_000);
  expect(recovered.recovery.runs).toBeGreaterThanOrEqual(ENOUGH_FOR_PROOF);
  expect((await rollout.standing()).state).toBe("recovered");
});

test("an agent with two runs a minute is not proven within the window: people are alerted, and may release or wait for the proof", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const receiver = await alertsOf(rollout);
  const slow = await agent(rollout, "slow");
  await failUntilRolledBack(rollout, [slow]);

  // A minute more than the window of ten.
  for (let minute = 1; minute <= 11; minute++) {
    clock.passSeconds(60);
    await runsThatWrite([slow], 2);
    await counted(rollout, 2 * minute);
  }
  const unverified = await inState(rollout, "unverified");
  expect(slow.provider.writesAllowed({ agent: ALIAS })).toBe(false);
  expect(unverified.recovery.runs).toBeLessThan(ENOUGH_FOR_PROOF);
  const alert = await receiver.next("unverified");
  expect(alert.text).toContain(`flagback incident release ${unverified.id}`);

  // One step for a person, with a reason.
  const operator = await rollout.server.token("operator");
  const without = await rollout.server.call("POST", `/v1/incidents/${unverified.id}/release`, {}, { token: operator });
  expect(without.status).toBe(400);
  const released = await rollout.server.call(
    "POST",
    `/v1/incidents/${unverified.id}/release`,
    { reason: "looked at the traces" },
    { token: operator },
  );
  expect(released.status).toBe(200);
  await eventually("writes are allowed again", () => slow.provider.writesAllowed({ agent: ALIAS }));
  expect((await inState(rollout, "closed")).timeline.at(-1)?.text).toContain("looked at the traces");
});

test("a proof that comes after the window still recovers, and releases by itself", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const slow = await agent(rollout, "late");
  await failUntilRolledBack(rollout, [slow]);
  clock.passSeconds(601);
  await inState(rollout, "unverified");
  await runsThatWrite([slow], ENOUGH_FOR_PROOF);
  clock.passSeconds(5);
  await inState(rollout, "recovered");
  await eventually("writes are allowed again", () => slow.provider.writesAllowed({ agent: ALIAS }));
});

test("a stable version that breaks its guardrail itself has not recovered: people are alerted and writes stay blocked", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const receiver = await alertsOf(rollout);
  const one = await agent(rollout, "broken");
  await failUntilRolledBack(rollout, [one]);
  for (let n = 0; n < 20; n++) await run(one, () => ({ status: "failure", errorOrigin: "provider" }));
  const incident = await inState(rollout, "not_recovered");
  expect((await receiver.next("not_recovered")).text).toContain(`${STABLE} itself breaks error_rate`);
  expect(await rollout.engaged()).toHaveLength(1);
  expect(incident.timings.recoverMs).toBeNull();
});

test("a recovery is proven by the runs before and after a restart in the middle of it", async () => {
  const clock = new MovedClock();
  let rollout = await exposing({}, { clock });
  const before = await agent(rollout, "before");
  await failUntilRolledBack(rollout, [before]);
  await runsThatWrite([before], 40);
  await counted(rollout, 40);
  await before.provider.onClose();
  rollout = await rollout.restart();
  expect((await inState(rollout, "open")).recovery.runs).toBe(40);

  const after = await agent(rollout, "after");
  await runsThatWrite([after], ENOUGH_FOR_PROOF - 40 - 1);
  await counted(rollout, ENOUGH_FOR_PROOF - 1);
  // Whoever was there before the restart has no lease any more.
  clock.passSeconds(16);
  await eventually("the rollback has converged", async () => {
    const { timings } = await inState(rollout, "open");
    return timings.convergeMs !== null;
  });
  await runsThatWrite([after], 1);
  clock.passSeconds(5);
  expect((await inState(rollout, "recovered")).recovery.runs).toBe(ENOUGH_FOR_PROOF);
  await eventually("writes are allowed again", () => after.provider.writesAllowed({ agent: ALIAS }));
});

test("a recovery takes away its own entry and leaves what another incident and a person hold", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const { server } = rollout;
  const one = await agent(rollout, "one-of-two");
  await server.call("POST", "/v1/kill-switches/writes_disabled/engage", {
    reason: "a person",
    scope: `agent=${ALIAS}`,
  });
  await failUntilRolledBack(rollout, [one]);
  await server.call("POST", "/v1/apply", {
    versions: [
      { id: `${OTHER}@1`, kind: "prompt", payload: { prompt: "one" } },
      { id: `${OTHER}@2`, kind: "prompt", payload: { prompt: "two" } },
    ],
    aliases: {
      [OTHER]: {
        stable: `${OTHER}@1`,
        candidates: [
          { id: `${OTHER}@1`, weight: 100 },
          { id: `${OTHER}@2`, weight: 0 },
        ],
        policy: { guardrails: [{ metric: "error_rate", max: 0.05 }] },
      },
    },
  });
  await server.call("POST", `/v1/aliases/${OTHER}/rollout`, { candidate: `${OTHER}@2` });
  await server.call("POST", `/v1/aliases/${OTHER}/rollback`, { reason: "by hand" });
  const owners = async () => (await rollout.engaged()).map((entry) => entry.owner.split(":")[0]).sort();
  expect(await owners()).toEqual(["incident", "incident", "token"]);

  await runsThatWrite([one], ENOUGH_FOR_PROOF);
  clock.passSeconds(5);
  const recovered = await inState(rollout, "recovered");
  const left = await rollout.engaged();
  expect(left.map((entry) => entry.owner)).not.toContain(`incident:${recovered.id}`);
  expect(await owners()).toEqual(["incident", "token"]);
  expect(one.provider.writesAllowed({ agent: ALIAS })).toBe(false);

  // The other's is released by its own incident, and the person's stays until a person releases it.
  const other = (await rollout.incidents()).find((each) => each.alias === OTHER);
  await server.call("POST", `/v1/incidents/${other?.id}/release`, { reason: "checked by hand" });
  expect(await owners()).toEqual(["token"]);
});

test("a rolled-back payload stays locked under any id until the incident's root cause is noted", async () => {
  const rollout = await exposing();
  const { server } = rollout;
  await rollout.act("rollback");
  const [incident] = await rollout.incidents();
  await server.call("POST", "/v1/versions", { id: `${ALIAS}@2.4.0-again`, payload: { prompt: "Be brief." } });
  const again = () => rollout.act("rollout", { candidate: `${ALIAS}@2.4.0-again` });
  expect((await again()).body).toMatchObject({ code: "version_locked" });

  const unlock = () => rollout.act("unlock", { version: CANDIDATE, reason: "fixed the tool" });
  const refused = await unlock();
  expect(refused.body).toMatchObject({ code: "root_cause_missing" });
  expect(refused.body.hint).toContain(incident?.id);
  await server.call("POST", `/v1/incidents/${incident?.id}/notes`, {
    text: "the tool's schema changed",
    isRootCause: true,
  });
  expect((await unlock()).status).toBe(200);
  // Unlocked is not answered for.
  expect((await again()).body).toMatchObject({ code: "gate_closed" });
  await server.call("POST", `/v1/incidents/${incident?.id}/release`, { reason: "checked by hand" });
  expect((await again()).status).toBe(200);
  expect((await rollout.incidents())[0]?.rootCause).toMatchObject({ text: "the tool's schema changed" });
});

test("an incident keeps what it was, and its report has the facts in place", async () => {
  const clock = new MovedClock();
  const rollout = await exposing({}, { clock });
  const { server } = rollout;
  const one = await agent(rollout, "reported");
  for (let n = 0; n < 40; n++) {
    const failure = {
      status: "failure",
      errorType: "schema_mismatch",
      errorOrigin: "tool",
      attributes: { tool: "refund" },
    };
    await run(one, (version) => (version === CANDIDATE ? (failure as Partial<Outcome>) : {}));
  }
  await rollbackReached(rollout, [one]);
  await runsThatWrite([one], ENOUGH_FOR_PROOF);
  clock.passSeconds(5);
  const { id, snapshot } = await inState(rollout, "recovered");
  await server.call("POST", `/v1/incidents/${id}/notes`, {
    text: "The schema | of refund\nchanged.",
    isRootCause: true,
  });

  expect(snapshot.payloadDiff).toEqual([{ path: "/prompt", from: "Be helpful.", to: "Be brief." }]);
  const { traffic, stages, runtimes, errors, tools, lastOutcomes } = snapshot.observed;
  const candidate = traffic.find((each) => each.version === CANDIDATE);
  expect(candidate?.failures).toBeGreaterThanOrEqual(3);
  expect(errors).toEqual([{ name: "tool: schema_mismatch", n: candidate?.failures }]);
  expect(tools).toEqual([{ name: "refund", n: candidate?.failures }]);
  expect(runtimes).toMatchObject([{ runs: candidate?.assigned, bad: { error_rate: candidate?.failures } }]);
  expect(stages).toMatchObject([{ stage: "half", candidate: candidate?.assigned }]);
  expect(lastOutcomes.at(-1)).toMatchObject({ version: CANDIDATE, status: "failure" });

  const viewer = await server.token("viewer");
  const report = await server.call<string>("GET", `/v1/incidents/${id}/report.md`, undefined, { token: viewer });
  expect(report.headers.get("content-type")).toContain("text/markdown");
  for (const fact of [
    `# ${ALIAS}: rollback of ${CANDIDATE}`,
    "- Be helpful.\n+ Be brief.",
    "| tool: schema_mismatch |",
    "Started rollout 1",
    "Every runtime follows the rollback",
    "| Recover |",
    "> The schema \\| of refund",
    "_To be filled in._",
  ]) {
    expect(report.body).toContain(fact);
  }
});
