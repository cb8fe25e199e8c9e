/**
 * `flagback register --from` against a real server: from a folder, from Git, again, and not at all.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Version } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { type TestServer, testFolder, testServer } from "../support/server.ts";
import { fakeIo } from "./fake-io.ts";

const PROMPTS = {
  "bot@1.md": "Be kind.\n",
  "bot@2/system.md": "Be brief.\n",
  "bot@2/tools.yaml": "[search]\n",
  "README.md": "# Prompts\n",
};

test("registers every version of a folder, and a second time finds them there", async () => {
  const { server, folder } = await given(PROMPTS);
  const first = await register(server, ["--from", folder, "--label", "team=support"]);
  expect(first).toMatchObject({ status: 0, json: { registered: ["bot@1", "bot@2"], unchanged: [], applied: true } });
  expect(first.json?.ignored).toEqual(["README.md"]);
  expect(await versions(server)).toMatchObject([
    { id: "bot@1", alias: "bot", kind: "prompt", payload: { prompt: "Be kind." }, labels: { team: "support" } },
    { id: "bot@2", alias: "bot", kind: "agent", payload: { system: "Be brief.", tools: ["search"] } },
  ]);
  const again = await register(server, ["--from", folder]);
  expect(again).toMatchObject({ status: 0, json: { registered: [], unchanged: ["bot@1", "bot@2"] } });
  write(folder, { "bot@3.md": "Be quick." });
  expect((await register(server, ["--from", folder])).json).toMatchObject({
    registered: ["bot@3"],
    unchanged: ["bot@1", "bot@2"],
  });
});

test("registers nothing where one version is there with another payload, and says which", async () => {
  const { server, folder } = await given(PROMPTS);
  await server.call("POST", "/v1/versions", { id: "bot@2", payload: { system: "Be slow." } });
  const { status, stderr } = await register(server, ["--from", folder]);
  expect(status).toBe(1);
  expect(stderr).toContain("bot@2 is registered with another payload");
  expect((await versions(server)).map(({ id }) => id)).toEqual(["bot@2"]);
});

test("registers nothing where a file is wrong, before the server is asked", async () => {
  const { server, folder } = await given({ ...PROMPTS, "bot@4.yaml": "kind: prose\n" });
  const { status, stderr } = await register(server, ["--from", folder]);
  expect(status).toBe(2);
  expect(stderr).toContain("bot@4.yaml: kind");
  expect(await versions(server)).toEqual([]);
});

test("shows with --dry-run what it would register, and registers nothing", async () => {
  const { server, folder } = await given(PROMPTS);
  const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
  expect(await runCli(["register", "--from", folder, "--dry-run"], io)).toBe(0);
  expect(io.written.stdout).toContain(
    "+ register bot@1\n+ register bot@2\n  README.md describes no version\nWould register 2",
  );
  expect(await versions(server)).toEqual([]);
});

test("takes what Git has at a ref, not what lies in the working tree, and notes the commit", async () => {
  const { server, folder } = await given({ "agents/bot@1.md": "Be kind.\n" });
  const git = repository(folder);
  git("tag", "v1");
  write(folder, { "agents/bot@1.md": "Be rude.\n", "agents/bot@9.md": "Never committed.\n" });
  const answer = await register(server, ["--from", join(folder, "agents"), "--git", "v1"]);
  expect(answer).toMatchObject({ status: 0, json: { registered: ["bot@1"], source: "git:v1:agents" } });
  expect(await versions(server)).toMatchObject([
    {
      payload: { prompt: "Be kind." },
      labels: { "git.commit": git("rev-parse", "v1").trim(), "git.path": "agents/bot@1.md" },
    },
  ]);
  // The same folder without --git is what lies there.
  const rude = await register(server, ["--from", join(folder, "agents")]);
  expect(rude.stderr).toContain("bot@1 is registered with another payload");
});

test("finds what is registered already unchanged also from a later commit", async () => {
  const { server, folder } = await given({ "bot@1.md": "Be kind.\n" });
  const git = repository(folder);
  const first = git("rev-parse", "HEAD").trim();
  await register(server, ["--from", folder, "--git", "HEAD"]);
  write(folder, { "bot@2.md": "Be brief.\n", "names with spaces/ünï@1.md": "x\n" });
  git("add", "--all");
  git("commit", "--quiet", "--message", "two");
  const later = await register(server, ["--from", folder, "--git", "HEAD"]);
  expect(later.json).toMatchObject({
    registered: ["bot@2"],
    unchanged: ["bot@1"],
    ignored: ["names with spaces/ünï@1.md"],
  });
  expect((await versions(server)).find(({ id }) => id === "bot@1")?.labels["git.commit"]).toBe(first);
});

test.each([
  ["a ref that is not there", ["--git", "no-such-branch"], "Git says: "],
  ["a ref that looks like an option", ["--git", "--output=stolen"], "Git says: "],
  ["a ref twice", ["--from", "git:main:agents", "--git", "main"], "names a commit already"],
  ["an id besides", ["bot@1"], "Give either the id of one version, or --from"],
] as const)("refuses %s", async (_what, words, message) => {
  const { server, folder } = await given(PROMPTS);
  repository(folder);
  const { status, stderr } = await register(server, ["--from", folder, ...words]);
  expect(status).toBe(2);
  expect(stderr).toContain(message);
  expect(await versions(server)).toEqual([]);
});

test("follows no symbolic link, and says that it did not", async () => {
  const { server, folder } = await given({ "bot@1.md": "Be kind.\n" });
  const secret = join(await testFolder(), "secret.md");
  writeFileSync(secret, "nobody's business");
  symlinkSync(secret, join(folder, "bot@2.md"));
  repository(folder);
  const fromDisk = await register(server, ["--from", folder]);
  const fromGit = await register(server, ["--from", folder, "--git", "HEAD"]);
  for (const { json } of [fromDisk, fromGit]) expect(json?.ignored).toEqual(["bot@2.md"]);
  expect((await versions(server)).map(({ id }) => id)).toEqual(["bot@1"]);
});

test("says where nothing is a version, or is no text", async () => {
  const { server, folder } = await given({ "README.md": "# Nothing\n" });
  expect((await register(server, ["--from", folder])).stderr).toContain("describes no version");
  writeFileSync(join(folder, "bot@1.md"), Buffer.from([0x80, 0x81]));
  expect((await register(server, ["--from", folder])).stderr).toContain("bot@1.md is not UTF-8");
  expect((await register(server, ["--from", join(folder, "missing")])).stderr).toContain("can't be read");
});

async function given(files: Readonly<Record<string, string>>) {
  const folder = await testFolder();
  write(folder, files);
  return { server: await testServer(), folder };
}

function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** Makes the folder a repository with one commit of all that is in it. Answers its `git`, which reads nobody's settings. */
function repository(folder: string): (...args: string[]) => string {
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", ...args], {
      env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
      stdio: ["ignore", "pipe", "ignore"],
    }).toString();
  git("init", "--quiet");
  git("add", "--all");
  git("commit", "--quiet", "--message", "one");
  return git;
}

interface Imported {
  readonly source: string;
  readonly applied: boolean;
  readonly registered: readonly string[];
  readonly unchanged: readonly string[];
  readonly ignored: readonly string[];
}

async function register(server: TestServer, words: readonly string[]) {
  const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
  const status = await runCli(["register", ...words, "--json"], io);
  const { stdout, stderr } = io.written;
  return { status, stderr, json: stdout === "" ? undefined : (JSON.parse(stdout) as Imported) };
}

async function versions(server: TestServer): Promise<Version[]> {
  return (await server.call<{ versions: Version[] }>("GET", "/v1/versions")).body.versions;
}
