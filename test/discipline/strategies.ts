/**
 * The six common mistakes of the seed on rollback strategies, each with what prevents it.
 */
import type { Alias, Problem } from "@flagback/schemas";
import { expect } from "vitest";
import { agent, failingRuns, failUntilRolledBack, run, stopped } from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, ERROR_RATE, eventually, exposing, RolloutServer, STABLE } from "../support/rollout.ts";
import { testServer } from "../support/server.ts";
import { type Mistake, without } from "./safeguard.ts";

/** The same payload as the candidate's, under another id. */
const TWIN = `${ALIAS}@2.4.0-again`;

export const MISTAKES: readonly Mistake[] = [
  {
    mistake: "rollback is only manual, without policy triggers",
    safeguard: without<typeof import("../../src/brain/judge.ts")>("src/brain/judge.ts", ({ judgeInFull }) => ({
      // Sees what happens, and finds nothing wrong with it.
      judgeInFull: (ledger) => {
        const judged = judgeInFull(ledger);
        return judged.verdict.kind === "stop" ? { ...judged, verdict: { ...judged.verdict, kind: "allow" } } : judged;
      },
    })),
    scenario: async () => {
      const rollout = await exposing();
      const one = await agent(rollout, "triggers");
      await failingRuns([one], 40);
      await decided(rollout);
      const { state } = await rollout.standing();
      const allocation = await rollout.allocation();
      const stops = await rollout.audit("rollback");
      return () => {
        expect(["rolled_back", "recovering"]).toContain(state);
        expect(allocation).toEqual({ [STABLE]: 100_000 });
        expect(stops).toMatchObject([{ decision: "stop", actor: { kind: "brain" } }]);
      };
    },
  },
  {
    mistake: "rollback is only manual: a rollout begins although its policy triggers nothing",
    safeguard: without<typeof import("../../src/brain/guardrails.ts")>(
      "src/brain/guardrails.ts",
      ({ compileGuardrails }) => ({
        // Takes a guardrail that only observes for one that decides.
        compileGuardrails: (policy, stage) => {
          const guardrails = policy.guardrails.map((guardrail) => ({ ...guardrail, mode: "automatic" as const }));
          return compileGuardrails({ ...policy, guardrails }, stage);
        },
      }),
    ),
    scenario: async () => {
      const rollout = await registered({ stable: STABLE, guardrails: [{ ...ERROR_RATE, mode: "observe" }] });
      const { status, body } = await rollout.act("rollout", { candidate: CANDIDATE });
      const allocation = await rollout.allocation();
      return () => {
        expect({ status, code: body.code }).toEqual({ status: 409, code: "rollback_plan_missing" });
        expect(allocation).toEqual({ [STABLE]: 100_000 });
      };
    },
  },
  {
    mistake: "no stable version exists for quick return",
    safeguard: without<typeof import("../../src/rollout/start.ts")>("src/rollout/start.ts", ({ startRollout }) => ({
      // Believes of every alias that there is a version to return to.
      startRollout: (world, command, at) => {
        const alias = world.aliases.get(command.alias);
        const candidate = world.versions.get(CANDIDATE);
        if (!alias || !candidate) return startRollout(world, command, at);
        const nowhere = `${ALIAS}@0`;
        const believed = { ...alias, stable: nowhere, allocation: [{ version: nowhere, weight: 100_000 }] };
        const versions = new Map(world.versions).set(nowhere, { ...candidate, id: nowhere, digest: "0".repeat(64) });
        return startRollout({ ...world, versions, aliases: new Map([[ALIAS, believed]]) }, command, at);
      },
    })),
    scenario: async () => {
      const rollout = await registered({});
      const { status, body } = await rollout.act("rollout", { candidate: CANDIDATE });
      const { problems } = body as unknown as Problem;
      const allocation = await rollout.allocation();
      return () => {
        expect(allocation).toEqual({});
        expect({ status, code: body.code }).toEqual({ status: 409, code: "rollback_plan_missing" });
        expect(problems).toContain("no stable version is declared");
      };
    },
  },
  {
    mistake: "no stable version exists for quick return: a promotion forgets the version before it",
    safeguard: without<typeof import("../../src/rollout/promote.ts")>("src/rollout/promote.ts", ({ promote }) => ({
      promote: (...args) => withAliases(promote(...args), ({ previousStable: _forgotten, ...alias }) => alias),
    })),
    scenario: async () => {
      const rollout = await exposing({ stages: [{ name: "full", percent: 100 }] });
      const one = await agent(rollout, "promoted");
      await rollout.act("promote");
      const promoted = await run(one, () => ({}));
      await rollout.act("rollback?wait=applied");
      const returned = await run(one, () => ({}));
      return () => expect([promoted, returned]).toEqual([CANDIDATE, STABLE]);
    },
  },
  {
    mistake: "candidate is not locked after rollback",
    safeguard: without<typeof import("../../src/rollout/rollback.ts")>("src/rollout/rollback.ts", ({ rollback }) => ({
      rollback: (...args) => withAliases(rollback(...args), (alias) => ({ ...alias, locks: [] })),
    })),
    scenario: async () => {
      const rollout = await exposing();
      const one = await agent(rollout, "locked");
      await failUntilRolledBack(rollout, [one]);
      await stopped(one);
      // Nothing but the lock stands in the way: the incident is answered for.
      const [incident] = await rollout.incidents();
      await rollout.server.call("POST", `/v1/incidents/${incident?.id}/release`, { reason: "reviewed" });
      await rollout.server.call("POST", "/v1/versions", { id: TWIN, payload: { prompt: "Be brief." } });
      const answers = await Promise.all([CANDIDATE, TWIN].map((candidate) => rollout.act("rollout", { candidate })));
      const served = new Set<string>();
      for (let n = 0; n < 20; n++) served.add(await run(one, () => ({})));
      return () => {
        expect(answers.map(({ status, body }) => [status, body.code])).toEqual([
          [409, "version_locked"],
          [409, "version_locked"],
        ]);
        expect([...served]).toEqual([STABLE]);
      };
    },
  },
  {
    mistake: "rollback switches traffic but does not verify recovery metrics",
    safeguard: without<typeof import("../../src/brain/recovery-standing.ts")>(
      "src/brain/recovery-standing.ts",
      ({ recoveryStanding }) => ({
        recoveryStanding: (ledger) => {
          const { broken: _unseen, ...standing } = recoveryStanding(ledger);
          return { ...standing, kind: "proven" };
        },
      }),
    ),
    scenario: async () => {
      const clock = new MovedClock();
      const rollout = await exposing({}, { clock });
      const one = await agent(rollout, "verified");
      await failUntilRolledBack(rollout, [one]);
      await stopped(one);
      // What ails the agent is not the candidate: stable, which is back, fails as well.
      for (let n = 0; n < 20; n++) await run(one, () => ({ status: "failure", errorOrigin: "provider" }));
      clock.passSeconds(5);
      const incident = await eventually("the verification concludes", async () =>
        (await rollout.incidents()).find(({ state }) => state !== "open"),
      );
      const engaged = await rollout.engaged();
      const isWriting = one.provider.writesAllowed({ agent: ALIAS });
      return () => {
        expect(incident.state).toBe("not_recovered");
        expect(engaged).toHaveLength(1);
        expect(isWriting).toBe(false);
      };
    },
  },
  {
    mistake: "no idempotency for repeated rollback signals",
    safeguard: without<typeof import("../../src/rollout/rollback.ts")>("src/rollout/rollback.ts", ({ rollback }) => {
      let signals = 0;
      return {
        // Takes each signal for the first of its kind.
        rollback: (world, command, at) => {
          signals += 1;
          return rollback(world, command, { ...at, digestOf: (value) => at.digestOf([signals, value]) });
        },
      };
    }),
    scenario: async () => {
      const rollout = await exposing();
      const one = await agent(rollout, "repeated");
      await failUntilRolledBack(rollout, [one]);
      const signals = await Promise.all([1, 2, 3].map((n) => rollout.act("rollback", { reason: `alert ${n}` })));
      const seen = [await rollout.audit("rollback"), await rollout.incidents(), await rollout.engaged()];
      return () => {
        expect(seen.map((rows) => rows.length)).toEqual([1, 1, 1]);
        for (const { status, body } of signals) {
          expect(status).toBe(200);
          expect(body).toMatchObject({ change: { status: "already_rolled_back" } });
        }
      };
    },
  },
  {
    mistake: "audit log does not include from/to version and reason",
    safeguard: without<typeof import("../../src/rollout/rollback.ts")>("src/rollout/rollback.ts", ({ rollback }) => ({
      rollback: (...args) => {
        const result = rollback(...args);
        if (result.kind !== "change") return result;
        const { fromVersion: _from, toVersion: _to, reason: _why, ...audit } = result.change.audit;
        return { ...result, change: { ...result.change, audit } };
      },
    })),
    scenario: async () => {
      const rollout = await exposing();
      const one = await agent(rollout, "audited");
      await failUntilRolledBack(rollout, [one]);
      const rows = await rollout.audit("rollback");
      return () => {
        expect(rows).toMatchObject([
          { decision: "stop", version: CANDIDATE, fromVersion: CANDIDATE, toVersion: STABLE, reason: "sla_breach" },
        ]);
      };
    },
  },
];

type Transition = ReturnType<typeof import("../../src/rollout/promote.ts").promote>;

function withAliases(result: Transition, each: (alias: Alias) => Alias): Transition {
  if (result.kind !== "change") return result;
  return { ...result, change: { ...result.change, aliases: result.change.aliases.map(each) } };
}

/** Waits until the evidence suffices for a stop, and whatever was commanded for it has been carried out. */
async function decided(rollout: RolloutServer): Promise<void> {
  await eventually("the evidence suffices", async () => {
    const { logE, threshold } = await rollout.standing();
    return logE !== null && threshold !== null && logE >= threshold;
  });
  // Commands are carried out one after the other: once this one is answered, the brain's own is done.
  await rollout.server.call("PUT", `/v1/aliases/${ALIAS}`, {});
}

/** Both versions, registered; without a rollout, and without what is left out here. */
async function registered(parts: { readonly stable?: string; readonly guardrails?: readonly object[] }) {
  const server = await testServer();
  const { stable, guardrails = [ERROR_RATE] } = parts;
  for (const [id, prompt] of [
    [STABLE, "Be helpful."],
    [CANDIDATE, "Be brief."],
  ]) {
    await server.call("POST", "/v1/versions", { id, kind: "prompt", payload: { prompt } });
  }
  await server.call("PUT", `/v1/aliases/${ALIAS}`, {});
  await server.call("PUT", `/v1/aliases/${ALIAS}`, { policy: { guardrails } });
  if (stable)
    await server.call("POST", `/v1/aliases/${ALIAS}/declare-stable`, { version: stable, reason: "it served" });
  return new RolloutServer(server, await server.token("runtime"));
}
