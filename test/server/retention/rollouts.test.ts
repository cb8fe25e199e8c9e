/**
 * Which rollouts' counts may go.
 */
import type { Alias } from "@flagback/schemas";
import { expect, test } from "vitest";
import { LedgerBook } from "../../../server/src/ledger/ledger-book.ts";
import { TickClock } from "../../../server/src/ledger/tick-clock.ts";
import { inUse } from "../../../server/src/store/in-use.ts";
import { parseKeep, Retention } from "../../../server/src/store/retention.ts";
import type { PruneStep } from "../../../server/src/store/store.ts";
import { EMPTY_WORLD } from "../../support/empty-world.ts";
import { opened, usedServer } from "./aged-server.ts";
import { quiet } from "./quiet.ts";

test("of each alias the newest rollouts stay, and older ones that have runs open", async () => {
  const steps: PruneStep[] = [];
  const retention = new Retention({
    ...quiet,
    terms: parseKeep(["rollouts=5"]),
    inUse: () => ({
      incidents: [],
      aliases: [
        { name: "busy", rolloutNumber: 9, open: [2, 9] },
        { name: "new", rolloutNumber: 5, open: [5] },
      ],
    }),
    prune: async (step) => {
      steps.push(step);
      return 0;
    },
  });
  await retention.run();
  const rollouts = steps.filter(({ what }) => what === "rollouts");
  // The newest 5 of 9 are 5 to 9; of 5 that is all.
  expect(rollouts).toMatchObject([{ alias: "busy", through: 4, except: [2, 9] }]);
});

test("a rollout is open as long as a run of it may still be reported, and no longer", async () => {
  const server = await usedServer();
  await server.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  const before = await server.restart();
  await before.close();
  const store = opened(before);
  const loaded = store.load({ history: 10, runs: 10 });
  store.close();
  const alias = loaded.aliases.find(({ name }) => name === "support-agent") as Alias;
  const world = { ...EMPTY_WORLD, aliases: new Map([[alias.name, { ...alias, rolloutNumber: 7, rollout: null }]]) };
  let nowMs = 0;
  const clock = new TickClock(1, () => nowMs);
  const assignment = {
    instance: "i",
    seq: 1,
    tick: 0,
    alias: alias.name,
    version: "support-agent@2.4.0",
    rolloutNumber: 2,
    assigned: 1,
    settled: 0,
    overdue: {},
  };
  const book = new LedgerBook({
    world: () => world,
    clock,
    loaded: {
      ...loaded,
      instances: [{ instance: "i", tokenId: "t", through: 1, lostSince: null }],
      assignments: [assignment],
      ledgers: [],
      totals: [],
      counts: [],
      runs: [],
    },
  });
  const open = () => inUse(world, (name) => book.openRollouts(name)).aliases[0]?.open;
  book.advance();
  expect(open()).toEqual([2]);
  // The policy's outcomeTimeout is 60 s; then its counts have to be durable.
  nowMs = 120_000;
  book.advance();
  expect(open()).toEqual([2]);
  book.confirm(book.collect());
  book.advance();
  expect(open()).toEqual([]);
});
