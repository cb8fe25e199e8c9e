/**
 * The seven fields that the seed wants logged of each rollback, by the brain and by a person, and that a test notices when the
 * log loses one of them.
 */
import type { AuditEvent } from "@flagback/schemas";
import { test } from "vitest";
import { expectToFail, takeAway, without } from "./safeguard.ts";

/** The seed's name of each field, and ours. */
const FIELDS = {
  reason: "reason",
  from_version: "fromVersion",
  to_version: "toVersion",
  stage: "stage",
  switch_status: "switchStatus",
  timestamp: "timestamp",
  actor: "actor",
} as const satisfies Record<string, keyof AuditEvent>;

test("an automatic and a manual rollback are logged with all seven fields", async () => {
  const { rollbacks } = await import("./rollbacks.ts");
  const assertionOf = await rollbacks();
  for (const field of Object.values(FIELDS)) assertionOf(field);
});

test.each(Object.entries(FIELDS))("the assertion on %s fails where the store loses it", async (_seeds, field) => {
  takeAway(storeWithout(field));
  const { rollbacks } = await import("./rollbacks.ts");
  const assertionOf = await rollbacks();
  expectToFail(() => assertionOf(field));
});

/** What stands in the columns that can't be empty: yesterday, and nobody. */
const NOTHING = {
  timestamp: new Date(Date.now() - 86_400_000).toISOString(),
  actor: { kind: "system", name: "" },
} as const;

function storeWithout(field: keyof AuditEvent) {
  return without<typeof import("../../server/src/store/sqlite.ts")>(
    "server/src/store/sqlite.ts",
    ({ openSqliteStore }) => ({
      openSqliteStore: (...args) => {
        const store = openSqliteStore(...args);
        return {
          ...store,
          commit: (change) => {
            const audit = change.audit.map((row) => {
              const { [field]: _lost, ...kept } = row as Partial<AuditEvent>;
              return { ...NOTHING, ...kept } as typeof row;
            });
            return store.commit({ ...change, audit });
          },
          writePropagation: (rows) => (field === "switchStatus" ? Promise.resolve() : store.writePropagation(rows)),
        };
      },
    }),
  );
}
