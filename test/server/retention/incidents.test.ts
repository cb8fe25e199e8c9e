/**
 * An incident stays as long as something hangs on it; then it goes, from the database and from memory.
 */
import { expect, test } from "vitest";
import { age, incidentsAfterPruning, rowsOf, usedServer } from "./aged-server.ts";

test("an incident stays past its term while it holds a kill switch engaged or a version locked, and while its rollout is the latest", async () => {
  const first = await usedServer();
  const { body } = await first.call<{ incidents: { id: string }[] }>("GET", "/v1/incidents");
  await first.close();
  age(first, 500);
  // Its rollout is the latest of its alias, and its kill switch is engaged.
  const second = await first.restart();
  expect(await incidentsAfterPruning(second)).toBe(1);
  await second.call("POST", "/v1/kill-switches/writes_disabled/release", { scope: "agent=support-agent", reason: "x" });
  await second.close();
  age(second, 500);
  const third = await second.restart();
  expect(await incidentsAfterPruning(third)).toBe(1);
  await third.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  await third.call("POST", "/v1/aliases/support-agent/roll-forward", { version: "support-agent@2.5.0", reason: "x" });
  await third.close();
  age(third, 500);
  const fourth = await third.restart();
  expect(await incidentsAfterPruning(fourth)).toBe(1);
  const unlock = { version: "support-agent@2.4.0", reason: "x", rootCause: "x" };
  await fourth.call("POST", "/v1/aliases/support-agent/unlock", unlock);
  await fourth.close();
  age(fourth, 500);
  const fifth = await fourth.restart();
  expect(await incidentsAfterPruning(fifth)).toBe(0);
  // It was read at this start, and nobody finds it in memory any more.
  const note = await fifth.call("POST", `/v1/incidents/${body.incidents[0]?.id}/notes`, { text: "a note" });
  expect(note.body).toMatchObject({ code: "incident_not_found" });
  await fifth.close();
  expect(rowsOf(fifth, ["incidents", "decisions"])).toEqual({ incidents: 0, decisions: 0 });
});

test("an incident that holds a kill switch stays, also where its rollout is not the latest any more", async () => {
  const server = await usedServer();
  await server.call("POST", "/v1/versions", { id: "support-agent@2.5.0", payload: { prompt: "Be kind." } });
  await server.call("POST", "/v1/aliases/support-agent/roll-forward", { version: "support-agent@2.5.0", reason: "x" });
  await server.close();
  age(server, 500);
  expect(await incidentsAfterPruning(await server.restart())).toBe(1);
});
