/**
 * Configuration as code through the command line against a real server: the seeds in processes of their own, the rest in
 * this one, on real files.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Alias } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { processIo } from "../../server/src/cli/io.ts";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { flagback, type Ran } from "../support/flagback-process.ts";
import { testFolder, testServer } from "../support/server.ts";

const SEEDS = fileURLToPath(new URL("../fixtures/config/", import.meta.url));
const ROLLBACK = join(SEEDS, "seed-rollback.yaml");
const ALIASES = join(SEEDS, "seed-aliases.yaml");

describe("on an empty database the seeds apply as they stand", () => {
  test("the rollback block makes its versions, alias and policy, and the rollout starts", async () => {
    const server = await testServer();
    const run = runnerOf(server);
    const applied = await run(["apply", "-f", ROLLBACK, "--yes"]);
    expect(applied).toMatchObject({ status: 0, stderr: "" });
    expect(applied.stdout).toContain("~ declare stable alias:support-agent");
    expect(applied.stdout).toMatch(/Applied \(revision \d+\)\.\n$/);
    expect(await run(["rollout", "start", "support-agent", "--reason", "seed"])).toMatchObject({ status: 0 });
    const { body } = await server.call<Alias>("GET", "/v1/aliases/support-agent");
    expect(body.rollout).toMatchObject({
      state: "exposing",
      stage: "canary",
      candidate: "support-agent@2.4.0",
      target: "support-agent@2.3.3",
    });
    // The rollout's weights are its own: the file says nothing else.
    expect(await run(["diff", "-f", ROLLBACK])).toMatchObject({
      status: 0,
      stdout: "No difference: the server has what the files say.\n",
    });
  });

  test("the aliases block gives the weights, from standard input, and both seeds from their folder", async () => {
    const server = await testServer();
    const run = runnerOf(server);
    const text = await readFile(ALIASES, "utf8");
    expect(await run(["apply", "-f", "-", "--yes"], { stdin: text })).toMatchObject({ status: 0 });
    const { body } = await server.call<Alias>("GET", "/v1/aliases/smart-reasoner");
    expect(body).toMatchObject({
      stable: "anthropic:claude-sonnet-4-5:ap-south-1",
      allocation: [{ version: "anthropic:claude-sonnet-4-5:ap-south-1", weight: 100_000 }],
      candidates: ["anthropic:claude-sonnet-4-6:ap-south-1"],
    });
    const both = await run(["apply", "-f", SEEDS, "--yes", "--json"]);
    expect(both.status).toBe(0);
    const targets = (JSON.parse(both.stdout) as { plan: { target: string }[] }).plan.map(({ target }) => target);
    // Of the first one nothing is left to do.
    expect(new Set(targets)).toEqual(
      new Set(["version:support-agent@2.3.3", "version:support-agent@2.4.0", "alias:support-agent"]),
    );
  });
});

test("what is exported is no difference; what then changes by hand is one, until it is applied or exported again", async () => {
  const server = await testServer();
  const run = quickRunnerOf(server);
  const folder = await testFolder();
  const file = join(folder, "flagback.yaml");
  await run(["apply", "-f", SEEDS, "--yes"]);
  expect(await run(["export", "--output", file])).toMatchObject({ status: 0, stdout: "" });
  expect((await run(["diff", "-f", file])).status).toBe(0);

  await server.call("PUT", "/v1/flags/banner", { state: "ENABLED", variants: { on: true }, defaultVariant: "on" });
  const policy = { guardrails: [{ metric: "error_rate", max: 0.5 }] };
  await server.call("PUT", "/v1/aliases/support-agent", { policy });
  const drifted = await run(["diff", "-f", file]);
  expect(drifted.status).toBe(1);
  expect(drifted.stdout).toContain(
    "~ update alias:support-agent\n    - policy.guardrails[0].max: 0.5\n    + policy.guardrails[0].max: 0.05\n",
  );
  expect(drifted.stdout).toContain("! on the server, and not in the files:\n    flag:banner\n");
  // No colours where nobody looks.
  expect(drifted.stdout).not.toContain("\u001b");
  const asJson = await run(["diff", "-f", file, "--json"]);
  expect(asJson.status).toBe(1);
  expect(JSON.parse(asJson.stdout)).toMatchObject({ isDrifted: true, unnamed: ["flag:banner"] });

  expect((await run(["apply", "-f", file, "--prune"])).status).toBe(2);
  expect((await run(["apply", "-f", file, "--prune", "--dry-run"])).stdout).toContain("- delete flag:banner");
  expect((await run(["diff", "-f", file])).status).toBe(1);
  expect((await run(["apply", "-f", file, "--prune", "--yes"])).status).toBe(0);
  expect((await run(["diff", "-f", file])).status).toBe(0);
});

test("files that can't be compared are status 2, with every problem and its place", async () => {
  const server = await testServer();
  const folder = await testFolder();
  await mkdir(join(folder, "team"));
  await writeFile(join(folder, "a.yaml"), "aliases:\n  agent: {stabel: agent@1}\n");
  await writeFile(join(folder, "team", "b.yml"), "flags: {f: {state: MAYBE, variants: {on: true}}}\n");
  await writeFile(join(folder, "notes.txt"), "not: [read");
  await writeFile(join(folder, ".draft.yaml"), "not: [read");
  const compared = await quickRunnerOf(server)(["diff", "-f", folder]);
  expect(compared.status).toBe(2);
  const alias = `${join(folder, "a.yaml")}:2:11: aliases.agent.stabel: unknown key; did you mean stable?`;
  expect(compared.stderr).toContain(`- ${alias}\n`);
  expect(compared.stderr).toContain(`- ${join(folder, "team", "b.yml")}:1:13: flags.f.state: `);
});

function runnerOf({ url, adminToken }: { readonly url: string; readonly adminToken: string }) {
  return (args: readonly string[], options: { readonly stdin?: string } = {}) =>
    flagback(args, { url, token: adminToken }, options);
}

/** In this process: everything is real but where it is written to, and that nobody is at a terminal. */
function quickRunnerOf({ url, adminToken }: { readonly url: string; readonly adminToken: string }) {
  return async (args: readonly string[]): Promise<Ran> => {
    const env = { FLAGBACK_URL: url, FLAGBACK_TOKEN: adminToken };
    const { stdout, stderr, written } = fakeIo();
    const status = await runCli(args, { ...processIo(), env, stdout, stderr, isInteractive: false });
    return { status, ...written };
  };
}
