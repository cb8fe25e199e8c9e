/**
 * What files no longer name goes with --prune: never what somebody still needs, and never half.
 */
import type { ApplyAnswer, AuditEvent } from "@flagback/schemas";
import { beforeEach, expect, test } from "vitest";
import { RawRuntime } from "../support/raw-runtime.ts";
import { type Answer, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const EMPTY = "versions: []\naliases: {}\nkillSwitches: {}\nflags: {}\ntriggers: {}\n";
const FLAG = { state: "ENABLED", variants: { on: true }, defaultVariant: "on" };

let server: TestServer;
beforeEach(async () => {
  server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("PUT", "/v1/flags/old-banner", FLAG);
  await server.call("PUT", "/v1/kill-switches/refunds_disabled", {});
});

test("without --prune nothing goes, and the answer names what the files do not", async () => {
  const { body } = await apply(EMPTY);
  expect(body).toMatchObject({
    applied: false,
    plan: [],
    unnamed: [
      "alias:support-agent",
      "version:support-agent@2.3.3",
      "version:support-agent@2.4.0",
      "flag:old-banner",
      "kill_switch:refunds_disabled",
    ],
  });
});

test("with --prune the plan names each removal, one transaction carries them out, and the log says who", async () => {
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  await runtime.next("snapshot");
  const planned = await apply(EMPTY, "prune=true&dryRun=true");
  expect(planned.body.plan.map(({ action, target }) => `${action} ${target}`)).toEqual([
    "delete alias:support-agent",
    "retire version:support-agent@2.3.3",
    "retire version:support-agent@2.4.0",
    "delete flag:old-banner",
    "delete kill_switch:refunds_disabled",
  ]);
  const applied = await apply(EMPTY, "prune=true");
  expect(applied.body).toMatchObject({ applied: true, plan: planned.body.plan, unnamed: [] });
  const { body } = await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit");
  expect(body.events.filter(({ action }) => action === "apply").at(-1)).toMatchObject({
    actor: { kind: "token" },
    revision: applied.body.revision,
    summary: expect.stringContaining("Removed alias support-agent. Retired support-agent@2.3.3."),
  });
  // Runtimes are told of all of it at once.
  const delta = await runtime.next("delta", ({ revision }) => revision === applied.body.revision);
  expect(delta.delete).toEqual(
    expect.arrayContaining([
      { kind: "alias", key: "support-agent" },
      { kind: "killSwitch", key: "refunds_disabled" },
      { kind: "flag", key: "old-banner" },
    ]),
  );
  const again = await server.restart();
  expect((await again.call("GET", "/v1/config")).body).toEqual({
    versions: [],
    aliases: {},
    killSwitches: { writes_disabled: { failSafe: { engage: true, afterMs: 0 } } },
    flags: {},
    triggers: {},
    releases: {},
  });
});

test("a block that no file has, and a name without the prefix, are somebody else's", async () => {
  expect((await apply("flags: {}\n", "dryRun=true&prune=true")).body.plan).toMatchObject([
    { action: "delete", target: "flag:old-banner" },
  ]);
  const prefixed = await apply(EMPTY, "dryRun=true&prune=true&prefix=old-&prefix=refunds");
  expect(prefixed.body.plan.map(({ target }) => target)).toEqual(["flag:old-banner", "kill_switch:refunds_disabled"]);
  // Of a version it is the alias's name.
  const versions = await apply("versions: []\n", "dryRun=true&prune=true&prefix=support");
  expect(versions.body).toMatchObject({ code: "version_in_use" });
});

test("a rollout under way, what it could go back to, and an engaged kill switch are kept, and with them all the rest", async () => {
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  await server.call("POST", "/v1/kill-switches/refunds_disabled/engage", { scope: "agent=x", reason: "x" });
  await expectRefused(
    /rollout of support-agent@2\.4\.0 \(exposing\)/,
    /refunds_disabled can't be removed: it is engaged/,
  );
});

test("a locked version and an incident that nobody settled are kept", async () => {
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "bad" });
  await expectRefused(
    /Alias support-agent can't be removed: support-agent@2\.4\.0 is locked on it/,
    /support-agent@2\.4\.0 can't be retired: it is locked/,
  );
  const unlock = { version: "support-agent@2.4.0", reason: "x", rootCause: "x" };
  await server.call("POST", "/v1/aliases/support-agent/unlock", unlock);
  await expectRefused(/Alias support-agent can't be removed: its incident inc_\w+ is open/);
});

test("a kill switch that a policy engages is kept", async () => {
  const policy = { guardrails: [{ metric: "error_rate", max: 0.1 }], onBreach: { engage: ["refunds_disabled"] } };
  await server.call("PUT", "/v1/aliases/support-agent", { policy });
  const { body } = await apply("killSwitches: {}\n", "prune=true");
  expect(body).toMatchObject({ code: "still_needed", detail: expect.stringContaining("policy of support-agent") });
});

test("a trigger keeps what it acts on, goes before it, and only by an admin", async () => {
  const trigger = { action: { kind: "engage", key: "refunds_disabled" } };
  expect((await server.call("PUT", "/v1/triggers/pager", trigger)).status).toBe(200);
  expect((await apply("killSwitches: {}\n", "prune=true")).body).toMatchObject({
    code: "still_needed",
    detail: expect.stringContaining("the trigger pager engages it"),
  });
  const both = "triggers: {}\nkillSwitches: {}\n";
  const lead = { token: await server.token("lead") };
  expect((await server.call("POST", "/v1/apply?prune=true", both, lead)).status).toBe(403);
  expect((await apply(both, "prune=true")).body.plan).toMatchObject([
    { action: "delete", target: "trigger:pager" },
    { action: "delete", target: "kill_switch:refunds_disabled" },
  ]);
});

test("an alias that is made anew goes on with the numbers of its rollouts, so that an old decision never stands for a new one", async () => {
  const incident = await rolledBack();
  await server.call("POST", "/v1/aliases/support-agent/unlock", {
    version: "support-agent@2.4.0",
    reason: "x",
    rootCause: "x",
  });
  await server.call("POST", `/v1/incidents/${incident}/release`, { reason: "settled" });
  const removed = await apply("aliases: {}\n", "prune=true");
  expect(removed.body).toMatchObject({ applied: true });
  const again = await server.restart();
  await again.call("POST", "/v1/apply", SUPPORT_AGENT);
  server = again;
  expect(await rolledBack()).not.toBe(incident);
  const { body } = await again.call<{ rolloutNumber: number }>("GET", "/v1/aliases/support-agent");
  expect(body.rolloutNumber).toBe(2);
});

test("a run that was begun before its alias went is reported in vain, and nothing else comes of it", async () => {
  const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
  const version = "support-agent@2.3.3";
  const run = { alias: "support-agent", version };
  runtime.send({ type: "outcomes", seq: 1, assigned: [{ ...run, revision: 1, n: 2 }], items: [] });
  await runtime.next("outcomesAck", ({ through }) => through === 1);
  expect((await apply(EMPTY, "prune=true")).body).toMatchObject({ applied: true });
  const items = [{ assignedSeq: 1, runId: "r", ...run, status: "failure" }];
  runtime.send({ type: "outcomes", seq: 2, assigned: [], items });
  await runtime.next("outcomesAck", ({ through }) => through === 2);
  const again = await server.restart();
  expect((await again.call("GET", "/v1/aliases")).body).toEqual({ aliases: [] });
  expect((await again.call<string>("GET", "/metrics")).status).toBe(200);
});

test("what was shown is what is carried out: where somebody changed it meanwhile, nothing is", async () => {
  const shown = await apply(EMPTY, "prune=true&dryRun=true");
  await server.call("PUT", "/v1/flags/newer", FLAG);
  const ifMatch = { headers: { "if-match": shown.headers.get("etag") ?? "" } };
  const refused = await server.call("POST", "/v1/apply?prune=true", EMPTY, ifMatch);
  expect(refused).toMatchObject({ status: 409, body: { code: "revision_conflict" } });
  expect((await server.call("GET", "/v1/flags/newer")).status).toBe(200);
  await server.call("DELETE", "/v1/flags/newer");
  expect(await server.call("POST", "/v1/apply?prune=true", EMPTY, ifMatch)).toMatchObject({ body: { applied: true } });
});

test("of two people who confirmed plans for the same flag, the second one is told", async () => {
  const flags = (name: string) => `flags:\n  banner: {state: ENABLED, variants: {on: ${name}}}\n`;
  const shown = await Promise.all(["one", "two"].map((name) => apply(flags(name), "dryRun=true")));
  const answers = await Promise.all(
    ["one", "two"].map((name, n) =>
      server.call("POST", "/v1/apply", flags(name), { headers: { "if-match": shown[n]?.headers.get("etag") ?? "" } }),
    ),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
});

function apply(yaml: string, query = ""): Promise<Answer<ApplyAnswer>> {
  return server.call<ApplyAnswer>("POST", `/v1/apply?${query}`, yaml);
}

/** The prune is refused for these reasons among others, and everything is there still. */
async function expectRefused(...reasons: readonly RegExp[]): Promise<void> {
  const before = (await server.call("GET", "/v1/config")).body;
  const { status, body } = await server.call<{ problems: string[] }>("POST", "/v1/apply?prune=true", EMPTY);
  expect(status).toBe(409);
  for (const reason of reasons) expect(body.problems).toContainEqual(expect.stringMatching(reason));
  expect((await server.call("GET", "/v1/config")).body).toEqual(before);
}

async function rolledBack(): Promise<string> {
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  const { body } = await server.call<{ change: { status: string; incident: string } }>(
    "POST",
    "/v1/aliases/support-agent/rollback",
    { reason: "bad" },
  );
  expect(body.change.status).toBe("done");
  return body.change.incident;
}
