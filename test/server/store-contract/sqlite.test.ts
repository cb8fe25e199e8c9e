/**
 * The embedded store keeps the contract.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, onTestFinished } from "vitest";
import { openSqliteStore } from "../../../server/src/store/sqlite.ts";
import { testFolder } from "../../support/server.ts";
import type { Adapter, Moment } from "./adapter.ts";
import { changesContract } from "./changes.ts";
import { countsContract } from "./counts.ts";
import { faultsContract } from "./faults.ts";
import { modelContract } from "./model.ts";
import { peopleContract } from "./people.ts";

describe("changes, audit log and incidents", () => changesContract(sqlite));
describe("counts", () => countsContract(sqlite));
describe("tokens, alerts, feedback and the whole", () => peopleContract(sqlite));
describe("a failing disk", () => faultsContract(sqlite));
describe("any sequence of calls", () => modelContract(sqlite));

async function sqlite(copy?: string): Promise<Adapter> {
  const file = copy ?? join(await testFolder(), "flagback.db");
  let failing: Moment | undefined;
  const reach = (point: string) => {
    if (failing !== undefined && point.endsWith(`.${failing}`)) {
      throw new Database.SqliteError("disk I/O error", "SQLITE_IOERR_WRITE");
    }
  };
  return {
    open: () => {
      const store = openSqliteStore(file, { reach });
      onTestFinished(() => store.close());
      return store;
    },
    failAt: (moment) => {
      failing = moment;
    },
  };
}
