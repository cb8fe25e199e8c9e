import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { FlagbackProvider } from "@flagback/provider";
import { FlagbackError } from "@flagback/schemas";
import { startTestServer, type TestServer } from "flagback/testing";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

const CONFIG = {
  aliases: { "support-agent": { candidates: [{ id: "support-agent@1", weight: 100 }] } },
};

/** Where temporary folders are made while a test runs. */
let temporary = "";

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), "flagback-tests-"));
  vi.stubEnv("TMPDIR", temporary);
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await rm(temporary, { recursive: true, force: true });
  });
});

describe("startTestServer", () => {
  test("is one line: a server on loopback that serves what its configuration says, gone with its database at the end", async () => {
    let url = "";
    {
      await using server = await startTestServer({ config: CONFIG });
      url = server.url;
      expect(new URL(url).hostname).toBe("127.0.0.1");
      expect(await readdir(temporary)).toHaveLength(1);

      const provider = new FlagbackProvider({ url, token: server.tokens.runtime });
      await provider.initialize();
      expect(provider.version("support-agent")).toBe("support-agent@1");
      await provider.onClose();
    }
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
    expect(await readdir(temporary)).toEqual([]);
  });

  test("takes its configuration as YAML too, and more of it later", async () => {
    await using server = await startTestServer({
      config: "aliases: {triage-agent: {candidates: [{id: triage-agent@1, weight: 100}]}}",
    });
    expect((await server.apply(CONFIG)).applied).toBe(true);
    expect((await server.api.aliases()).map(({ name }) => name).sort()).toEqual(["support-agent", "triage-agent"]);
  });

  test("has a token of each role, which may what its role may", async () => {
    await using server = await startTestServer();
    const statusOf = async (role: keyof typeof server.tokens, method: string, path: string, body?: object) => {
      const headers = { authorization: `Bearer ${server.tokens[role]}`, "content-type": "application/json" };
      return (await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) })).status;
    };
    const stop = { reason: "test" };
    expect(await statusOf("viewer", "GET", "/v1/aliases")).toBe(200);
    expect(await statusOf("viewer", "POST", "/v1/stop", stop)).toBe(403);
    expect(await statusOf("operator", "POST", "/v1/stop", stop)).toBe(200);
    expect(await statusOf("operator", "POST", "/v1/apply", {})).toBe(403);
    expect(await statusOf("lead", "POST", "/v1/apply", {})).toBe(200);
    expect(await statusOf("lead", "GET", "/v1/tokens")).toBe(403);
    expect(await statusOf("admin", "GET", "/v1/tokens")).toBe(200);
    expect(await statusOf("runtime", "GET", "/v1/aliases")).toBe(403);
  });

  test("runs several at once that know nothing of each other", async () => {
    const servers = await Promise.all([startTestServer(), startTestServer({ config: CONFIG }), startTestServer()]);
    const [first, second, third] = servers as [TestServer, TestServer, TestServer];
    await first.api.stop("test");

    const engaged = async (server: TestServer) => (await server.api.killSwitches())[0]?.engaged.length;
    expect(new Set(servers.map(({ url }) => url)).size).toBe(3);
    expect(await Promise.all(servers.map(engaged))).toEqual([1, 0, 0]);
    expect((await Promise.all(servers.map(({ api }) => api.aliases()))).map(({ length }) => length)).toEqual([0, 1, 0]);

    await Promise.all([first.close(), third.close()]);
    expect(await second.api.aliases()).toHaveLength(1);
    await second.close();
    expect(await readdir(temporary)).toEqual([]);
  });

  test("closes once, however often it is asked", async () => {
    const server = await startTestServer();
    const [one, other] = [server.close(), server.close()];
    expect(other).toBe(one);
    await one;
    await server[Symbol.asyncDispose]();
    expect(await readdir(temporary)).toEqual([]);
  });

  test("says what is wrong with a configuration, and leaves nothing running", async () => {
    const config = { aliases: { a: { candidates: [{ id: "a@1", weight: 40 }] } } };
    const refused = await startTestServer({ config }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(FlagbackError);
    expect(refused).toMatchObject({ code: "weights_do_not_sum", message: expect.stringContaining("40 %") });
    expect(await readdir(temporary)).toEqual([]);
  });

  test("writes nothing to the console and keeps no process alive once it is closed", async () => {
    const script = `
      import { startTestServer } from "flagback/testing";
      const server = await startTestServer({ config: ${JSON.stringify(CONFIG)} });
      await server.close();`;
    const args = ["--conditions=flagback:source", "--import", "tsx", "--input-type=module", "--eval", script];
    expect(await promisify(execFile)(process.execPath, args)).toEqual({ stdout: "", stderr: "" });
  });
});
