import { expect, test } from "vitest";
import { type TestServer, testServer } from "../support/server.ts";

const ONCE = { headers: { "idempotency-key": "once" } };
const RELEASE = ["POST", "/v1/kill-switches/writes_disabled/release", { reason: "first" }] as const;

test("a repeat of a request that changed nothing still changes nothing", async () => {
  const server = await testServer();
  const first = await server.call(...RELEASE, ONCE);
  await server.call("POST", "/v1/stop", { reason: "emergency" });
  // The client never saw the first answer and repeats, as the key permits.
  const again = await server.call(...RELEASE, ONCE);
  expect(again.body).toEqual(first.body);
  const { body } = await server.call<{ killSwitches: { engaged: unknown[] }[] }>("GET", "/v1/kill-switches");
  expect(body.killSwitches[0]?.engaged).toHaveLength(1);
});

test("an apply repeated with its key answers the plan that it carried out, also after a restart", async () => {
  const server = await testServer();
  const first = await server.call("POST", "/v1/apply", "versions: [{id: a@1}]", ONCE);
  expect(first.body).toMatchObject({ applied: true, plan: [{ target: "version:a@1" }] });
  const restarted = await server.restart();
  const again = await restarted.call("POST", "/v1/apply", "versions: [{id: a@1}]", ONCE);
  expect(again.body).toEqual(first.body);
});

test("a token is made once for a key, and the repeat says where its secret went", async () => {
  const server = await testServer();
  const create = () =>
    server.call<{ token: { id: string }; secret?: string; hint?: string }>(
      "POST",
      "/v1/tokens",
      { role: "viewer", name: "v" },
      ONCE,
    );
  // Both at once: the second waits for the first instead of making another.
  const answers = await Promise.all([create(), create()]);
  const first = answers.find((answer) => answer.body.secret !== undefined);
  const second = answers.find((answer) => answer.body.secret === undefined);
  expect(second?.body).toEqual({ token: first?.body.token, hint: expect.stringContaining("revoke") });
  const { body } = await server.call<{ tokens: { name: string }[] }>("GET", "/v1/tokens");
  expect(body.tokens.filter((token) => token.name === "v")).toHaveLength(1);
  expect(await actions(server)).toEqual(["kill_switch.create", "token.create"]);
});

test("a webhook is made and removed once for a key", async () => {
  const server = await testServer();
  const create = () =>
    server.call<{ webhook: { id: string } }>("POST", "/v1/webhooks", { url: "http://127.0.0.1:9/x" }, ONCE);
  const first = await create();
  // The secret is answered once and never again.
  expect((await create()).body).toEqual({ webhook: first.body.webhook, hint: expect.stringContaining("rotate") });
  const remove = () =>
    server.call("DELETE", `/v1/webhooks/${first.body.webhook.id}`, undefined, {
      headers: { "idempotency-key": "two" },
    });
  const removed = await remove();
  expect(removed.status).toBe(200);
  expect(await remove()).toMatchObject({ status: 200, body: removed.body });
  expect(await actions(server)).toEqual(["kill_switch.create", "webhook.create", "webhook.delete"]);
});

test("a refusal is not kept: the same request may succeed when its cause is gone", async () => {
  const server = await testServer();
  const engage = () => server.call("POST", "/v1/kill-switches/k/engage", { reason: "x" }, ONCE);
  expect((await engage()).status).toBe(404);
  await server.call("PUT", "/v1/kill-switches/k", {});
  expect((await engage()).status).toBe(200);
});

test("a key that is too long to keep is refused", async () => {
  const server = await testServer();
  const answer = await server.call(...RELEASE, { headers: { "idempotency-key": "k".repeat(129) } });
  expect(answer.body).toMatchObject({ code: "bad_request", detail: expect.stringContaining("129") });
});

async function actions(server: TestServer): Promise<string[]> {
  const { body } = await server.call<{ events: { action: string }[] }>("GET", "/v1/audit");
  return body.events.map((event) => event.action);
}
