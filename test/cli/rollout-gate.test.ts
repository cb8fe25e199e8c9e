import type { GateAnswer } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { ALIAS, exposing, type RolloutServer } from "../support/rollout.ts";
import { fakeIo } from "./fake-io.ts";

test("flagback rollout gate lists each condition with yes or no and why, also as JSON", async () => {
  const rollout = await exposing();
  const people = await run(rollout, ["rollout", "gate", ALIAS]);
  expect(people.stdout).toContain("nothing follows");
  expect(people.stdout).toMatch(/guardrails\s+no\s+its guardrails are not proven healthy yet/);
  expect(people.stdout).toMatch(/not paused\s+yes\s+nobody paused it/);
  const { stdout } = await run(rollout, ["rollout", "gate", ALIAS, "--json"]);
  const answer = JSON.parse(stdout) as GateAnswer;
  expect(answer).toMatchObject({ alias: ALIAS, isOpen: false, state: "exposing" });
  expect(answer.conditions.length).toBeGreaterThan(5);
});

test("a refused command says where the rollout stands, what leads on from there, and who may", async () => {
  const rollout = await exposing();
  await rollout.act("pause");
  const { status, stderr } = await run(rollout, ["rollout", "promote", ALIAS, "--reason", "now"]);
  expect(status).toBe(1);
  expect(stderr).toContain("state paused; from there:\n");
  expect(stderr).toContain(`  - resume (lead): flagback rollout resume ${ALIAS} --reason "..."\n`);
  expect(stderr).toContain(`  - rollback (operator): flagback rollback ${ALIAS} --reason "..."\n`);
  const asJson = await run(rollout, ["rollout", "promote", ALIAS, "--reason", "now", "--json"]);
  expect(JSON.parse(asJson.stderr)).toMatchObject({ code: "gate_closed", state: "paused", possible: [{}, {}] });
});

async function run(rollout: RolloutServer, args: readonly string[]) {
  const { url, adminToken } = rollout.server;
  const io = fakeIo({ env: { FLAGBACK_URL: url, FLAGBACK_TOKEN: adminToken } });
  return { status: await runCli([...args], io), ...io.written };
}
