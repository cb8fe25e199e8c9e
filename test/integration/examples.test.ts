/**
 * What the README and examples/ tell a reader to do, done: the command line against a real server, and the example agent.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { testFolder } from "../support/server.ts";
import { serverProcess } from "../support/server-process.ts";

const run = promisify(execFile);
const SOURCES = ["--conditions=flagback:source", "--import", "tsx"];
const path = (relative: string) => fileURLToPath(new URL(`../../${relative}`, import.meta.url));

// Nine processes start one after the other, each compiling its sources.
const PATIENCE_MS = 120_000;

test(
  "the example agent refunds, and after flagback stop it is told that it may not",
  async () => {
    const server = await serverProcess(await testFolder());
    const flagback = async (...args: string[]) => {
      const env = { ...process.env, FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken };
      return (await run(process.execPath, [...SOURCES, path("server/src/cli/main.ts"), ...args], { env })).stdout;
    };
    const agent = async (token: string) => {
      const env = { ...process.env, FLAGBACK_URL: server.url, FLAGBACK_TOKEN: token };
      return (await run(process.execPath, [...SOURCES, path("examples/agent.ts")], { env })).stdout;
    };

    expect(await flagback("apply", "-f", path("examples/policy.yaml"), "--yes")).toContain("support-agent");
    await flagback("rollout", "start", "support-agent", "--stage", "half");
    const { secret } = JSON.parse(
      await flagback("token", "create", "--role", "runtime", "--name", "example", "--json"),
    );

    expect(await agent(secret)).toMatch(/support-agent@2\.(3\.3|4\.0) found order 4711.*order 4711 is refunded/s);
    await flagback("stop", "--reason", "trying it");
    expect(await agent(secret)).toContain("not performed");

    const { events } = JSON.parse(await flagback("audit", "--json"));
    expect(events.at(-1)).toMatchObject({ action: "stop", reason: "trying it" });
    const rollout = JSON.parse(await flagback("rollout", "status", "support-agent", "--json"));
    expect(rollout.traffic.reduce((sum: number, each: { settled: number }) => sum + each.settled, 0)).toBe(2);
  },
  PATIENCE_MS,
);
