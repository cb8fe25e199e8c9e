/** `flagback drill` as somebody runs it: a process of its own, against a server that is there. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Drill } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { ALIAS, DRILL_TIMEOUT_MS, drilledServer } from "../drills/drilled.ts";
import { eventually, type TestServer } from "../support/server.ts";

const MAIN = fileURLToPath(new URL("../../server/src/cli/main.ts", import.meta.url));

function start({ url, adminToken }: TestServer, ...args: readonly string[]) {
  const child = spawn(
    process.execPath,
    ["--conditions=flagback:source", "--import", "tsx", MAIN, "drill", ALIAS, ...args],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, FLAGBACK_URL: url, FLAGBACK_TOKEN: adminToken },
    },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

test(
  "a drill that passes ends with 0, tells its steps on standard error, and its record is the last line with --json",
  async () => {
    const server = await drilledServer();
    const child = start(server, "--json");
    const [answer, said, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    const record = JSON.parse(answer) as Drill;
    expect(record).toMatchObject({ id: "drill_1", state: "passed", faults: ["errors"] });
    expect(status).toBe(0);
    for (const { name } of record.steps) expect(said).toContain(name);
  },
  DRILL_TIMEOUT_MS,
);

test(
  "Ctrl-C ends a drill with its runtimes, and the server has emptied the shadow",
  async () => {
    const server = await drilledServer();
    const child = start(server);
    const ended = once(child, "exit");
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.includes("outcomes")) continue;
      child.kill("SIGINT");
      break;
    }
    const [status] = await ended;
    expect(status).toBe(1);
    const { body } = await server.call<Drill>("GET", "/v1/drills/drill_1");
    expect(body).toMatchObject({ state: "abandoned", because: "it was interrupted" });
    expect((await server.call("GET", "/v1/aliases/drill.support-agent")).body).toMatchObject({ stable: null });
    await eventually("the runtimes are gone", async () => {
      const { body: there } = await server.call<{ runtimes: unknown[] }>("GET", "/v1/runtimes");
      return there.runtimes.length === 0;
    });
  },
  DRILL_TIMEOUT_MS,
);
