/** A drill on a real server, with real runtimes in processes of their own. */
import { describe, expect, test } from "vitest";
import { ALIAS, CANDIDATE, DRILL_TIMEOUT_MS, drill, drilledServer, failures, STABLE } from "./drilled.ts";

describe("a drill", () => {
  test(
    "passes on a fresh server, and leaves the alias, its counts and its switches as they were",
    async () => {
      const server = await drilledServer();
      const look = async () => ({
        alias: (await server.call("GET", `/v1/aliases/${ALIAS}`)).body,
        aliases: (await server.call("GET", "/v1/aliases")).body,
        versions: (await server.call("GET", "/v1/versions")).body,
        switches: (await server.call("GET", "/v1/kill-switches")).body,
        incidents: (await server.call("GET", "/v1/incidents")).body,
        tokens: (await server.call("GET", "/v1/tokens")).body,
      });
      const before = await look();

      const record = await drill(server);

      expect(failures(record)).toEqual([]);
      expect(record).toMatchObject({
        state: "passed",
        alias: ALIAS,
        candidate: CANDIDATE,
        target: STABLE,
        kind: "prompt",
        targetMs: 300_000,
        startedBy: "first admin",
        times: [{ fault: "errors", rollbackMs: expect.any(Number), convergeMs: expect.any(Number) }],
        incidents: [expect.stringMatching(/^inc_/)],
      });
      expect(await look()).toEqual(before);
      expect(await server.call("GET", "/v1/runtimes")).toMatchObject({ body: { runtimes: [] } });
    },
    DRILL_TIMEOUT_MS,
  );
});
