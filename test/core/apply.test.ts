import { transition } from "@flagback/core";
import { ConfigFile, desiredState } from "@flagback/schemas";
import { expect, test } from "vitest";
import { AT, done, withSwitch } from "./support-world.ts";

test("on an empty database the seed's rollback block applies and its rollout starts", () => {
  const world = done(withSwitch(), {
    kind: "apply",
    desired: desiredState(
      ConfigFile.parse({
        rollback: {
          stable_version: "support-agent@2.3.3",
          candidate_version: "support-agent@2.4.0",
          triggers: { error_rate_p95: 0.05, latency_p95_ms: 1800, tool_failure_rate: 0.03 },
          lock_candidate_after_rollback: true,
        },
      }),
    ).state,
  });
  const started = done(world, { kind: "startRollout", alias: "support-agent", reason: "" });
  const alias = started.aliases.get("support-agent");
  expect(alias?.allocation).toEqual([
    { version: "support-agent@2.4.0", weight: 1_000 },
    { version: "support-agent@2.3.3", weight: 99_000 },
  ]);
  expect(alias?.rollout).toMatchObject({ state: "exposing", stage: "canary", target: "support-agent@2.3.3" });
});

test("applying the same file twice changes nothing the second time", () => {
  const desired = desiredState(
    ConfigFile.parse({
      aliases: {
        "smart-reasoner": {
          candidates: [
            { id: "model:b", version_pin: "b", weight: 0 },
            { id: "model:a", version_pin: "a", weight: 100 },
          ],
        },
      },
    }),
  ).state;
  const world = done(withSwitch(), { kind: "apply", desired });
  expect(world.aliases.get("smart-reasoner")).toMatchObject({ stable: "model:a", candidates: ["model:b"] });
  expect(world.versions.get("model:a")?.payload).toEqual({ model: "a" });
  expect(transition(world, { kind: "apply", desired }, AT).kind).toBe("unchanged");
});

test("a file is applied whole or not at all, and every problem is named", () => {
  const desired = desiredState(
    ConfigFile.parse({
      aliases: {
        one: { stable: "one@1", policy: { guardrails: [{ metric: "error_rate", max: 7 }] } },
        two: { stable: "two@1", policy: { guardrails: [], onBreach: { engage: ["nothing"] } } },
      },
    }),
  ).state;
  const result = transition(withSwitch(), { kind: "apply", desired }, AT);
  expect(result.kind === "refused" && result.refusal.problems?.length).toBeGreaterThanOrEqual(2);
});
