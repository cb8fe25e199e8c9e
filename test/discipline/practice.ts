/**
 * The five common mistakes of the seed on rollback discipline, each with what prevents it.
 */
import type { Propagation, Version } from "@flagback/schemas";
import { expect } from "vitest";
import { drilledServer } from "../drills/drilled.ts";
import { agent, alertsOf, failUntilRolledBack, run, stopped } from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { ALIAS, CANDIDATE, exposing, RolloutView, STABLE } from "../support/rollout.ts";
import { type Mistake, without } from "./safeguard.ts";

const ALL = [{ name: "full", percent: 100 }] as const;

export const MISTAKES: readonly Mistake[] = [
  {
    mistake: "rollback documented but never tested",
    safeguard: without<typeof import("../../src/rollout/drill-requirement.ts")>(
      "src/rollout/drill-requirement.ts",
      () => ({ drillFinding: () => ({ isMet: true, why: "nobody asks" }) }),
    ),
    scenario: async () => {
      const server = await drilledServer({ requireDrill: { maxAge: "30d" } });
      const rollout = new RolloutView(server.call);
      const { status, body } = await rollout.act("rollout", { candidate: CANDIDATE });
      const allocation = await rollout.allocation();
      return () => {
        expect(allocation).toEqual({ [STABLE]: 100_000 });
        // The drill is all that is missing.
        expect({ status, problems: body.problems }).toEqual({
          status: 409,
          problems: [`no drill has passed on ${ALIAS}`],
        });
      };
    },
  },
  {
    mistake: "previous version retired",
    safeguard: without<typeof import("../../src/rollout/versions.ts")>(
      "src/rollout/versions.ts",
      ({ retireVersion }) => ({
        // Looks at no alias that may need the version.
        retireVersion: (world, command, at) => retireVersion({ ...world, aliases: new Map() }, command, at),
      }),
    ),
    scenario: async () => {
      const rollout = await exposing({ stages: [...ALL] });
      const retire = async () => {
        const answer = await rollout.server.call("POST", `/v1/versions/${STABLE}/retire`, { reason: "it is old" });
        return { status: answer.status, code: answer.body.code };
      };
      const whileExposing = await retire();
      await rollout.act("promote");
      const onceReplaced = await retire();
      await rollout.act("rollback");
      const { body: target } = await rollout.server.call<Version>("GET", `/v1/versions/${STABLE}`);
      return () => {
        const inUse = { status: 409, code: "version_in_use" };
        expect([whileExposing, onceReplaced]).toEqual([inUse, inUse]);
        expect(target.retiredAt).toBeUndefined();
      };
    },
  },
  {
    mistake: "slow rollback infrastructure",
    safeguard: without<typeof import("../../server/src/stream/session.ts")>(
      "server/src/stream/session.ts",
      ({ Session }) => ({
        // Tells a runtime everything when it starts, and nothing after that: a change takes a deploy.
        Session: class extends Session {
          override catchUp(): void {}
        },
      }),
    ),
    scenario: async () => {
      const rollout = await exposing({ stages: [...ALL] });
      const one = await agent(rollout, "running");
      const before = await run(one, () => ({}));
      const { body } = await rollout.act("rollback?wait=applied&timeoutMs=3000");
      const after = await run(one, () => ({}));
      return () => {
        // The same process, neither started anew nor connected anew.
        expect([before, after]).toEqual([CANDIDATE, STABLE]);
        expect(body.propagation as Propagation).toMatchObject({ runtimes: 1, acknowledged: 1, lapsed: 0 });
      };
    },
  },
  {
    mistake: "on-call lacks rollback authority",
    safeguard: without<typeof import("../../src/rollout/machine.ts")>("src/rollout/machine.ts", (machine) => {
      const rollback = { ...machine.PEOPLES_COMMANDS.rollback, role: "lead" };
      return {
        PEOPLES_COMMANDS: { ...machine.PEOPLES_COMMANDS, rollback } as unknown as typeof machine.PEOPLES_COMMANDS,
      };
    }),
    scenario: async () => {
      const rollout = await exposing({ stages: [...ALL] });
      const one = await agent(rollout, "on-call");
      const token = await rollout.server.token("operator");
      const { status } = await rollout.server.call(
        "POST",
        `/v1/aliases/${ALIAS}/rollback?wait=applied`,
        { reason: "paged at night" },
        { token },
      );
      const served = await run(one, () => ({}));
      return () => expect({ status, served }).toEqual({ status: 200, served: STABLE });
    },
  },
  {
    mistake: "no post-rollback verification",
    safeguard: without<typeof import("../../src/rollout/recovery-step.ts")>("src/rollout/recovery-step.ts", () => ({
      // Traffic has shifted, so all is well.
      recoveryStep: ({ incident, isConverged }) =>
        incident.state === "open" && isConverged
          ? { kind: "settle", as: "recovered", because: "traffic has shifted" }
          : { kind: "wait" },
    })),
    scenario: async () => {
      const clock = new MovedClock();
      const rollout = await exposing({}, { clock });
      const receiver = await alertsOf(rollout);
      const one = await agent(rollout, "unverified");
      await failUntilRolledBack(rollout, [one]);
      await stopped(one);
      clock.passSeconds(601);
      const told = await receiver.next("recovered", "unverified", "not_recovered");
      const [incident] = await rollout.incidents();
      const engaged = await rollout.engaged();
      return () => {
        expect([told.kind, incident?.state]).toEqual(["unverified", "unverified"]);
        expect(told.text).toContain(`flagback incident release ${incident?.id}`);
        expect(engaged).toHaveLength(1);
      };
    },
  },
];
