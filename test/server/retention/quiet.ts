/** Parts of a retention that has nothing to drop. */
import type { InUse } from "../../../server/src/store/in-use.ts";
import { parseKeep } from "../../../server/src/store/retention.ts";
import { SILENT } from "../../support/server.ts";

export const quiet = {
  prune: async () => 0,
  inUse: (): InUse => ({ incidents: [], aliases: [] }),
  terms: parseKeep([]),
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  onPruned: () => undefined,
  log: SILENT,
};
