import type { Incident } from "@flagback/schemas";
import { expect, test } from "vitest";
import { RepeatAudit } from "../../server/src/engine/repeat-audit.ts";

const INCIDENT: Incident = {
  id: "inc_1",
  alias: "support-agent",
  candidate: "support-agent@2.4.0",
  target: "support-agent@2.3.3",
  rolloutNumber: 1,
  stage: "canary",
  reason: "sla_breach",
  decisionId: "a".repeat(64),
  state: "open",
  openedAt: "2026-01-02T03:04:05.678Z",
  revision: 4,
  evidence: [],
  timeline: [],
  notes: [],
};
const SOMEBODY = { kind: "token", name: "on call", id: "t1" } as const;

test("signals that come again are noted once a minute for each rollback, with how many there were", async () => {
  const { repeats, rows, clock } = audit();
  const other = { ...INCIDENT, id: "inc_2", decisionId: "b".repeat(64) };
  for (const incident of [INCIDENT, INCIDENT, other, INCIDENT]) await repeats.note(incident, SOMEBODY);
  clock.ms += 60_000;
  await repeats.note(INCIDENT, SOMEBODY);
  expect(rows.map(({ incident, summary }) => `${incident}: ${summary.split(" for ")[0]}`)).toEqual([
    "inc_1: A signal asked",
    "inc_2: A signal asked",
    "inc_1: 3 signals asked",
  ]);
});

test("a signal that the disk keeps from being noted is answered all the same, and the next one is noted", async () => {
  const { repeats, rows, disk } = audit();
  disk.isBroken = true;
  await repeats.note(INCIDENT, SOMEBODY);
  disk.isBroken = false;
  await repeats.note(INCIDENT, SOMEBODY);
  expect(rows).toMatchObject([{ reason: "already_rolled_back", actor: SOMEBODY }]);
});

function audit() {
  const rows: Parameters<ConstructorParameters<typeof RepeatAudit>[0]>[0][] = [];
  const clock = { ms: 1_000_000 };
  const disk = { isBroken: false };
  const write = async (row: (typeof rows)[number]) => {
    if (disk.isBroken) throw new Error("disk full");
    rows.push(row);
  };
  return { repeats: new RepeatAudit(write, () => clock.ms), rows, clock, disk };
}
