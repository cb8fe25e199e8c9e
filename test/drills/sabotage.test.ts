/** A drill that can't fail proves nothing: each of these set-ups is broken in one place, and the drill names it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { World } from "@flagback/core";
import Database from "better-sqlite3";
import { describe, expect, onTestFinished, test } from "vitest";
import { takeAway, without } from "../discipline/safeguard.ts";
import { CANDIDATE, DRILL_TIMEOUT_MS, drill, drilledServer, failures, STABLE } from "./drilled.ts";

describe("a drill fails, and names the step,", () => {
  test(
    "where a runtime ignores the kill switch",
    async () => {
      const record = await drill(await drilledServer(), {}, { sabotage: "ignores-the-switch" });
      expect(record.state).toBe("failed");
      expect(failures(record)).toContainEqual({
        name: "kill_switch",
        why: expect.stringMatching(
          /^runtime-1 would write at revision \d+ although drill\.support-agent\.writes_disabled is engaged$/,
        ),
      });
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where a runtime acknowledges the rollback without applying it",
    async () => {
      const record = await drill(await drilledServer(), {}, { sabotage: "acknowledges-only" });
      expect(record.state).toBe("failed");
      const [first] = failures(record);
      expect(first?.name).toBe("withdrawn");
      expect(first?.why).toMatch(
        /^runtime-1 acknowledged revision \d+, says it is at \d+, and served the candidate in/,
      );
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where outcomes don't arrive",
    async () => {
      const record = await drill(await drilledServer(), {}, { sabotage: "does-not-report" });
      expect(record.state).toBe("failed");
      const [first, ...others] = failures(record);
      expect(first?.name).toBe("outcomes");
      expect(first?.why).toMatch(/^after 10 s: 0 outcomes of \d+ candidate runs were counted$/);
      expect(others).toEqual([]);
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where the lock is not enforced",
    async () => {
      type Start = typeof import("../../src/rollout/start.ts");
      const unlocked = (world: World, name: string): World => {
        const alias = world.aliases.get(name);
        return alias ? { ...world, aliases: new Map(world.aliases).set(name, { ...alias, locks: [] }) } : world;
      };
      takeAway(
        without<Start>("src/rollout/start.ts", ({ startRollout }) => ({
          startRollout: (world, command, at) => startRollout(unlocked(world, command.alias), command, at),
        })),
      );
      const broken = await import("./drilled.ts");
      const record = await broken.drill(await broken.drilledServer());
      expect(record.state).toBe("failed");
      expect(failures(record)[0]).toEqual({
        name: "lock",
        why: "a rollout of drill.support-agent@2.4.0 was answered gate_closed, although its payload is locked",
      });
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where a webhook is down",
    async () => {
      const receiver = createServer((_request, response) => response.writeHead(500).end());
      await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void receiver.close());
      const server = await drilledServer();
      const { port } = receiver.address() as AddressInfo;
      await server.call("POST", "/v1/webhooks", { url: `http://127.0.0.1:${port}/alerts` });

      const record = await drill(server);

      expect(record.state).toBe("failed");
      const [first, ...others] = failures(record);
      expect(others).toEqual([]);
      expect(first?.name).toBe("alerts");
      expect(first?.why).toMatch(/^after 10 s: \d of \d alerts were not taken; webhook wh_\w+, tried \d+ times: .*500/);
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where the stable version's payload is broken",
    async () => {
      const server = await drilledServer();
      await server.close();
      const database = new Database(`${server.dataDir}/flagback.db`);
      database
        .prepare(
          "UPDATE documents SET document = json_set(document, '$.payload.prompt', 'Be') WHERE kind = 'version' AND key = ?",
        )
        .run(STABLE);
      database.close();

      const record = await drill(await server.restart());

      expect(record.state).toBe("failed");
      const [first, ...others] = failures(record);
      expect(others).toEqual([]);
      expect(first?.name).toBe("payloads");
      expect(first?.why).toMatch(
        /^the payload of support-agent@2\.3\.3 is broken: its digest is \w+, and \w+ was registered$/,
      );
    },
    DRILL_TIMEOUT_MS,
  );

  test(
    "where the policy can't fire",
    async () => {
      const server = await drilledServer({ guardrails: [{ metric: "quality", min: 0.8 }] });
      const record = await drill(server);
      expect(record).toMatchObject({ state: "failed", candidate: CANDIDATE });
      expect(failures(record)).toEqual([
        { name: "plan", why: "no guardrail of the policy that can decide looks at errors" },
      ]);
      const metrics = await server.call<string>("GET", "/metrics");
      expect(metrics.body).toMatch(
        /flagback_last_drill_timestamp_seconds\{alias="support-agent",result="fail"\} [1-9]/,
      );
      expect(metrics.body).toContain('flagback_last_drill_timestamp_seconds{alias="support-agent",result="pass"} 0');
    },
    DRILL_TIMEOUT_MS,
  );
});
