/** `flagback trigger`, and the token that fires one, against a real server. */
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { testServer } from "../support/server.ts";
import { fakeIo } from "./fake-io.ts";

async function setUp() {
  const server = await testServer();
  const cli = async (...args: string[]) => {
    const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
    return { status: await runCli(args, io), ...io.written };
  };
  return { server, cli };
}

test("a trigger is set, listed, given a token that fires it, and removed", async () => {
  const { server, cli } = await setUp();
  const set = ["trigger", "set", "checkout", "--engage", "writes_disabled", "--scope", "agent=a"];
  expect(await cli(...set, "--label", "env=prod", "--label", "team=x=y")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("Created the trigger checkout: it engages writes_disabled for agent=a"),
  });
  expect((await cli("trigger", "list")).stdout).toMatch(
    /checkout\s+plain\s+engage writes_disabled for agent=a\s+env=prod,team=x=y/,
  );
  const made = await cli("token", "create", "--role", "trigger", "--trigger", "checkout", "--name", "monitoring");
  const [token = "", signingSecret = ""] = made.stdout.split("\n");
  expect([token, signingSecret]).toEqual([expect.stringMatching(/^fb_trigger_/), expect.stringMatching(/^whsec_/)]);
  expect((await cli("token", "list")).stdout).toMatch(/trigger\s+monitoring\s+checkout/);
  const fired = await fetch(`${server.url}/v1/triggers/checkout`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: '{"labels": {"env": "prod", "team": "x=y"}}',
  });
  expect(await fired.json()).toMatchObject({ change: { status: "done" } });
  expect((await cli("audit")).stdout).toMatch(/trigger:checkout\s+kill_switch\.engage/);
  expect((await cli("trigger", "remove", "checkout")).status).toBe(0);
  expect((await cli("trigger", "list")).stdout).toBe("No triggers.\n");
});

test("a rollback has a reason, and a pause has none", async () => {
  const { server, cli } = await setUp();
  await server.call("PUT", "/v1/aliases/a", {});
  await cli("trigger", "set", "sla", "--format", "alertmanager", "--rollback", "a", "--reason", "sla_breach");
  await cli("trigger", "set", "slow", "--format", "datadog", "--pause", "a");
  const { stdout } = await cli("trigger", "list");
  expect(stdout).toMatch(/sla\s+alertmanager\s+roll back a \(sla_breach\)/);
  expect(stdout).toMatch(/slow\s+datadog\s+pause a/);
});

test.each([
  [["--engage", "k", "--pause", "a"], "does one thing"],
  [[], "does one thing"],
  [["--pause", "a", "--label", "nonsense"], "has no name and value"],
  [["--pause", "a", "--format", "nagios"], "Allowed choices"],
  [["--rollback", "a", "--reason", "manual"], "Allowed choices"],
])("with %j it is bad use", async (options, says) => {
  const { cli } = await setUp();
  expect(await cli("trigger", "set", "t", ...options)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining(says),
  });
});
