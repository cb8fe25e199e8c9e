/**
 * A server that is killed right at a write's boundaries: the change is there whole or not at all, and an answered one is.
 */
import type { KillSwitch } from "@flagback/schemas";
import { expect, test } from "vitest";
import { FAILPOINTS, type Failpoint, failpointOf } from "../../server/src/store/failpoints.ts";
import { testFolder } from "../support/server.ts";
import { type ServerProcess, serverProcess } from "../support/server-process.ts";

/** By hand: what reached the commit is there after the restart, and nothing else. */
const CHANGE: readonly (readonly [Failpoint, "there" | "not there"])[] = [
  ["change.before-begin", "not there"],
  ["change.after-begin", "not there"],
  ["change.before-commit", "not there"],
  ["change.after-commit", "there"],
  ["change.in-memory", "there"],
  ["answer.before-send", "there"],
];

test("a change is there after a kill exactly when the kill came after its commit", { timeout: 120_000 }, async () => {
  const dataDir = await testFolder();
  const first = await serverProcess(dataDir);
  const headers = { authorization: `Bearer ${first.adminToken}`, "content-type": "application/json" };
  await first.kill();
  for (const [point, outcome] of CHANGE) {
    const server = await serverProcess(dataDir, { FLAGBACK_FAILPOINT: `kill ${point}` });
    await expect(engage(server, point)).rejects.toThrow();
    expect(await server.ended).toBe("SIGKILL");
    const again = await serverProcess(dataDir);
    const scopes = await engagedScopes(again);
    const audited = await auditedReasons(again);
    const isThere = outcome === "there";
    expect([point, scopes.includes(`tenant=${point}`), audited.includes(point)]).toEqual([point, isThere, isThere]);
    await again.kill();
  }

  async function engage({ url }: ServerProcess, reason: string): Promise<void> {
    const body = JSON.stringify({ scope: `tenant=${reason}`, reason });
    await fetch(`${url}/v1/kill-switches/writes_disabled/engage`, { method: "POST", headers, body });
  }
  async function engagedScopes({ url }: ServerProcess): Promise<string[]> {
    const answer = (await (await fetch(`${url}/v1/kill-switches`, { headers })).json()) as {
      killSwitches: KillSwitch[];
    };
    return answer.killSwitches.flatMap(({ engaged }) => engaged.map((entry) => entry.scope));
  }
  async function auditedReasons({ url }: ServerProcess): Promise<unknown[]> {
    const answer = (await (await fetch(`${url}/v1/audit`, { headers })).json()) as { events: { reason?: string }[] };
    return answer.events.map((event) => event.reason);
  }
});

test.each(["kill nowhere", "kill change.after-commit 0", "io-error change.after-commit", "burn change.after-commit"])(
  "a failpoint that is none is refused instead of ignored: %s",
  (FLAGBACK_FAILPOINT) => {
    expect(() => failpointOf({ FLAGBACK_FAILPOINT })).toThrowError(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining("change.in-memory") }),
    );
  },
);

test("each point has one name, and without the variable there is nothing at any of them", () => {
  expect(new Set(FAILPOINTS).size).toBe(FAILPOINTS.length);
  expect(failpointOf({})).toBeUndefined();
});
