/** Each common mistake of the seed on rollback discipline is prevented, and without its safeguard a test says so. */
import { expect, test } from "vitest";
import { CANDIDATE, DRILL_TIMEOUT_MS, drill, drilledServer, STABLE } from "../drills/drilled.ts";
import { RolloutView } from "../support/rollout.ts";
import { MISTAKES } from "./practice.ts";
import { preventedMistakes } from "./safeguard.ts";

preventedMistakes(MISTAKES, () => import("./practice.ts"));

test(
  "a rollout whose policy demands a drill starts once its rollback was rehearsed",
  async () => {
    const server = await drilledServer({ requireDrill: "perRelease" });
    const rollout = new RolloutView(server.call);
    expect((await rollout.act("rollout", { candidate: CANDIDATE })).status).toBe(409);
    expect(await drill(server)).toMatchObject({ state: "passed" });
    expect((await rollout.act("rollout", { candidate: CANDIDATE })).status).toBe(200);
    // The first of the default stages.
    expect(await rollout.allocation()).toEqual({ [STABLE]: 99_000, [CANDIDATE]: 1_000 });
  },
  DRILL_TIMEOUT_MS,
);
