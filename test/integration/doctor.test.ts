/**
 * The doctor of a real server: nothing fails where all is well, and what is broken on purpose is found.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { DoctorAnswer, DoctorCheck, PolicyInput } from "@flagback/schemas";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import {
  ALIAS,
  CANDIDATE,
  eventually,
  exposing,
  RolloutServer,
  STABLE,
  startRollout,
  successes,
} from "../support/rollout.ts";
import { testServer } from "../support/server.ts";

test("where all is well no check fails, and the command line says so with status 0", async () => {
  const rollout = await exposing();
  await connect(rollout);
  await webhook(rollout, 200);
  const answer = await doctor(rollout, await rollout.server.token("operator"));
  expect(failing(answer)).toEqual([]);
  expect(answer).toMatchObject({ alias: ALIAS, target: STABLE, candidate: CANDIDATE, status: "warn" });
  expect(check(answer, "runtimes")).toMatchObject({ status: "ok", why: expect.stringContaining("1 of 1 runtimes") });
  expect(check(answer, "outcomes")).toMatchObject({ status: "ok", why: expect.stringContaining("5 of 5 runs") });
  expect(check(answer, "traffic")).toMatchObject({ why: expect.stringContaining("at 50 % (stage half)") });
  // What is left to do before anybody can be sure.
  expect(check(answer, "drill")).toMatchObject({ status: "warn", whatToDo: `Rehearse it: flagback drill ${ALIAS}.` });

  const { status, stdout } = await onCommandLine(rollout);
  expect(status).toBe(0);
  expect(stdout).toContain(`A rollback of ${CANDIDATE} on ${ALIAS} returns to ${STABLE}.`);
  expect(stdout).toContain("0 checks fail");
});

test("it changes nothing: neither documents nor the audit log nor the revision", async () => {
  const rollout = await exposing();
  const before = [await rollout.audit(), await rollout.standing()];
  await doctor(rollout);
  expect([await rollout.audit(), await rollout.standing()]).toEqual(before);
});

test("a webhook that is down is found, and the command line exits with 1", async () => {
  const rollout = await exposing();
  await connect(rollout);
  await webhook(rollout, 500);
  const answer = await doctor(rollout);
  expect(failing(answer)).toEqual(["webhooks"]);
  expect(check(answer, "webhooks")?.why).toMatch(/wh_\w+: .*500/);
  // An address may hold a secret, and a viewer may ask.
  expect(JSON.stringify(answer)).not.toContain("hook-secret");
  const { status, stdout } = await onCommandLine(rollout);
  expect(status).toBe(1);
  expect(stdout).toMatch(/^fail {2}webhooks: /m);
});

test("a token that may not roll back is told so", async () => {
  const rollout = await exposing();
  await connect(rollout);
  const answer = await doctor(rollout, await rollout.server.token("viewer"));
  expect(failing(answer)).toEqual(["authority"]);
  expect(check(answer, "authority")?.whatToDo).toContain("token create --role operator");
});

test("runtimes are found that are gone, that hold no lease, or that may not see the alias", async () => {
  const rollout = await exposing();
  expect(check(await doctor(rollout), "runtimes")).toMatchObject({
    status: "fail",
    why: expect.stringContaining("reaches nobody"),
  });
  const stranger = await rollout.server.token("runtime", ["another-alias"]);
  await RawRuntime.connect(rollout.server.url, stranger);
  expect(check(await doctor(rollout), "runtimes")).toMatchObject({
    status: "fail",
    why: expect.stringContaining("reaches nobody"),
  });
  await rollout.runtime();
  expect(check(await doctor(rollout), "runtimes")).toMatchObject({
    status: "fail",
    why: expect.stringMatching(/^0 of 1 runtimes/),
  });
});

test("runs that nobody reports are found", async () => {
  const rollout = await exposing({ outcomeTimeout: "1s", guardrails: [{ metric: "latency_p95_ms", max: 60_000 }] });
  const runtime = await rollout.runtime();
  await runtime.report({ candidate: 9, stable: successes(1) });
  const found = await eventually("the runs are missing", async () => {
    const outcomes = check(await doctor(rollout), "outcomes");
    return outcomes?.status === "fail" && outcomes;
  });
  expect(found.why).toContain("9 of 10 runs were never reported");
});

test.each([
  ["asks for approval", { guardrails: [{ metric: "error_rate", max: 0.05, mode: "approval" }] }],
  ["only freezes", { guardrails: [{ metric: "error_rate", max: 0.05, action: "freeze" }] }],
] as const)("a policy that can't roll back by itself, because it %s, is found", async (_what, policy) => {
  const rollout = await exposing(policy as unknown as Partial<PolicyInput>);
  await connect(rollout);
  expect(failing(await doctor(rollout))).toEqual(["guardrails"]);
});

/** Statements that change one document behind the server's back. */
const set = (kind: string, key: string, path: string, json: string) =>
  `UPDATE documents SET document = json_set(document, '${path}', json('${json}')) WHERE kind = '${kind}' AND key = '${key}'`;
const LOCK = `json_object('digest', (SELECT document ->> '$.digest' FROM documents WHERE key = '${STABLE}'),
  'version', '${STABLE}', 'reason', 'by mistake', 'at', '2026-01-01T00:00:00.000Z', 'by', 'somebody')`;

test.each([
  [
    "target_payload",
    "the rollback target's payload was overwritten",
    set("version", STABLE, "$.payload", '{"prompt": "x"}'),
  ],
  ["rollback_target", "it was retired", set("version", STABLE, "$.retiredAt", '"2026-01-01T00:00:00.000Z"')],
  ["rollback_target", "it is gone", `DELETE FROM documents WHERE kind = 'version' AND key = '${STABLE}'`],
  ["kill_switches", "the switch that it engages is gone", "DELETE FROM documents WHERE key = 'refunds_disabled'"],
  [
    "locks",
    "it is locked",
    `UPDATE documents SET document = json_set(document, '$.locks', json_array(${LOCK})) WHERE kind = 'alias'`,
  ],
] as const)("%s fails where %s in the database", async (name, _what, sql) => {
  const server = await testServer();
  await server.call("PUT", "/v1/kill-switches/refunds_disabled", {});
  await startRollout(server.call, { onBreach: { engage: ["refunds_disabled"] } });
  const { dataDir, adminToken } = server;
  await server.close();
  const database = new Database(`${dataDir}/flagback.db`);
  expect(database.prepare(sql).run().changes).toBe(1);
  database.close();
  const broken = await testServer({ dataDir, adminToken });
  const rollout = new RolloutServer(broken, await broken.token("runtime"));
  await connect(rollout);
  expect(failing(await doctor(rollout))).toEqual([name]);
});

/** A runtime that follows the server, holds a lease and reports. */
async function connect(rollout: RolloutServer): Promise<void> {
  const runtime = await rollout.runtime();
  const { raw } = runtime;
  const { revision } = await raw.next("snapshot");
  raw.send({ type: "applied", revision, appliedAfterMs: 1 });
  raw.send({ type: "lease", id: 1 });
  await raw.next("lease");
  await runtime.report({ candidate: successes(3), stable: successes(2) });
}

/** A webhook that answers every alert alike, and one alert that it was sent. */
async function webhook(rollout: RolloutServer, status: number): Promise<void> {
  const receiver = createServer((request, response) => {
    request.resume();
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void receiver.close());
  const { port } = receiver.address() as AddressInfo;
  const { call } = rollout.server;
  expect((await call("POST", "/v1/webhooks", { url: `http://127.0.0.1:${port}/hook-secret` })).status).toBe(200);
  await call("POST", "/v1/stop", { reason: "to send an alert" });
  await call("POST", "/v1/kill-switches/writes_disabled/release", { reason: "sent" });
  await eventually(
    "the alert was tried",
    async () => !check(await doctor(rollout), "webhooks")?.why.includes("on record"),
  );
}

async function doctor(rollout: RolloutServer, token?: string): Promise<DoctorAnswer> {
  const options = token === undefined ? {} : { token };
  const answer = await rollout.server.call<DoctorAnswer>("GET", `/v1/aliases/${ALIAS}/doctor`, undefined, options);
  expect(answer.status).toBe(200);
  return answer.body;
}

async function onCommandLine({ server }: RolloutServer) {
  const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
  return { status: await runCli(["doctor", ALIAS], io), stdout: io.written.stdout };
}

function failing({ checks }: DoctorAnswer): string[] {
  return checks.filter(({ status }) => status === "fail").map((each) => each.check);
}

function check({ checks }: DoctorAnswer, name: DoctorCheck["check"]): DoctorCheck | undefined {
  return checks.find((each) => each.check === name);
}
