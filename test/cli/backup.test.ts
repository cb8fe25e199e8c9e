/** The way of an operator: save a running server, lose it, make a folder of what was saved. */
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";
import { fakeIo } from "./fake-io.ts";
import { fakeServer } from "./fake-server.ts";

test("what was saved of a running server is what a restored folder serves", async () => {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const file = join(await testFolder(), "flagback.gz");
  const saved = await cli(["backup", file], server);
  expect(saved).toMatchObject({ status: 0, stderr: "" });
  expect(saved.stdout).toMatch(/^Saved revision 2 in .*flagback\.gz: [\d.]+ kB, \d+ kB unpacked\.\n$/);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const before = await server.call("GET", "/v1/aliases");
  await server.close();

  const dataDir = join(await testFolder(), "restored");
  const restored = await cli(["restore", file, "--data-dir", dataDir]);
  expect(restored).toMatchObject({ status: 0, stderr: "" });
  expect(restored.stdout).toContain("Restored revision 2 to ");
  expect(restored.stdout).toContain("Kill switches and locks are as they were then.");
  const again = await testServer({ dataDir, adminToken: server.adminToken });
  expect((await again.call("GET", "/v1/aliases")).body).toEqual(before.body);
});

test("both answer one JSON value where that is asked for", async () => {
  const server = await testServer();
  const file = join(await testFolder(), "flagback.gz");
  const saved = JSON.parse((await cli(["backup", file, "--json"], server)).stdout);
  expect(saved).toEqual({ file, revision: 1, bytes: (await stat(file)).size, unpackedBytes: expect.any(Number) });
  const dataDir = join(await testFolder(), "restored");
  const restored = JSON.parse((await cli(["restore", file, "--data-dir", dataDir, "--stop", "--json"])).stdout);
  // The stop is a revision of its own.
  expect(restored).toMatchObject({ file, dataDir, revision: 2, movedTo: null });
});

test("a file that is there is replaced only with --force", async () => {
  const server = await testServer();
  const file = join(await testFolder(), "flagback.gz");
  await writeFile(file, "precious");
  const refused = await cli(["backup", file], server);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain("--force");
  expect((await stat(file)).size).toBe("precious".length);
  expect((await cli(["backup", file, "--force"], server)).status).toBe(0);
});

test("a backup that does not come whole leaves no file, and not a part of one", async () => {
  const folder = await testFolder();
  const { url } = await fakeServer(() => ({ body: { not: "a backup" } }));
  const io = fakeIo();
  expect(await runCli(["backup", join(folder, "flagback.gz"), "--url", url], io)).toBe(1);
  expect(io.written.stderr).toContain("backup_invalid");
  expect(await readdir(folder)).toEqual([]);
});

test("a folder that can't be written is told in a line, and so is a token that may not", async () => {
  const server = await testServer();
  const nowhere = await cli(["backup", join(await testFolder(), "not", "there.gz")], server);
  expect(nowhere.status).toBe(2);
  expect(nowhere.stderr).toContain("can't be written");
  const io = fakeIo();
  const token = await server.token("lead");
  const file = join(await testFolder(), "flagback.gz");
  expect(await runCli(["backup", file, "--url", server.url, "--token", token], io)).toBe(1);
  expect(io.written.stderr).toContain("[forbidden]");
});

test("a restore into a folder of something else is refused with status 1", async () => {
  const dataDir = await testFolder();
  await writeFile(join(dataDir, "notes.txt"), "mine");
  const refused = await cli(["restore", "whatever.gz", "--data-dir", dataDir]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain("[data_folder_not_empty]");
  expect(await readdir(dataDir)).toEqual(["notes.txt"]);
});

async function cli(args: readonly string[], server?: TestServer) {
  const io = fakeIo();
  const remote = server ? ["--url", server.url, "--token", server.adminToken] : [];
  return { status: await runCli([...args, ...remote], io), ...io.written };
}
