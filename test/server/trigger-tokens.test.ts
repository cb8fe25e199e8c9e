/** What a trigger's token opens, and what it doesn't. */
import { describe, expect, test } from "vitest";
import { testServer } from "../support/server.ts";
import { bearer, ENGAGE, fire, setTrigger, signed } from "../support/triggers.ts";

describe("a trigger's token", () => {
  test("is taken as bearer and as the password of basic authentication", async () => {
    const server = await testServer();
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    const basic = `Basic ${Buffer.from(`anybody:${credentials.token}`).toString("base64")}`;
    expect(await fire(server, "checkout", { authorization: basic })).toMatchObject({ status: 200 });
    for (const bad of ["Basic !", "Basic AAAA", `Basic ${Buffer.from("fb:no").toString("base64")}`, "Bearer x", ""]) {
      expect(await fire(server, "checkout", { authorization: bad })).toMatchObject({ status: 401 });
    }
  });

  test("fires its own trigger and does nothing else", async () => {
    const server = await testServer();
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    await setTrigger(server, "other", ENGAGE);
    expect(await fire(server, "other", bearer(credentials))).toMatchObject({ status: 403, code: "forbidden" });
    const options = { token: credentials.token };
    for (const [method, path] of [
      ["GET", "/v1/triggers"],
      ["GET", "/v1/aliases"],
      ["GET", "/v1/snapshot"],
      ["DELETE", "/v1/triggers/checkout"],
      ["GET", "/metrics"],
    ] as const) {
      expect(await server.call(method, path, undefined, options)).toMatchObject({ status: 403 });
    }
    await server.call("DELETE", "/v1/triggers/checkout");
    expect(await fire(server, "checkout", bearer(credentials))).toMatchObject({
      status: 404,
      code: "trigger_not_found",
    });
  });

  test("is of a trigger that there is, names it, and has three others beside it at most", async () => {
    const server = await testServer();
    const make = (body: object) => server.call("POST", "/v1/tokens", { name: "m", ...body });
    expect(await make({ role: "trigger", trigger: "nobody" })).toMatchObject({
      status: 404,
      body: { code: "trigger_not_found" },
    });
    expect(await make({ role: "trigger" })).toMatchObject({ status: 400 });
    await setTrigger(server, "checkout", ENGAGE);
    expect(await make({ role: "viewer", trigger: "checkout" })).toMatchObject({ status: 400 });
    for (let n = 0; n < 3; n++) expect((await make({ role: "trigger", trigger: "checkout" })).status).toBe(200);
    expect(await make({ role: "trigger", trigger: "checkout" })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining("4 tokens") },
    });
  });

  test("that is wrong too often is slowed like any other, and the right one passes from the same address", async () => {
    const server = await testServer({ limits: { authFailuresPerMinute: 3 } });
    const credentials = await setTrigger(server, "checkout", ENGAGE);
    const statuses: number[] = [];
    for (let n = 0; n < 5; n++)
      statuses.push((await fire(server, "checkout", { ...signed(credentials, "1"), "webhook-id": "2" })).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect((await fire(server, "nobody", { "webhook-signature": "v1,x" })).retryAfter).not.toBeNull();
    expect(await fire(server, "checkout", signed(credentials, "3"))).toMatchObject({ status: 200 });
  });

  test("and its signing secret are in no answer but the first, and in no audit row", async () => {
    const server = await testServer();
    await server.call("PUT", "/v1/triggers/checkout", ENGAGE);
    const body = { role: "trigger", name: "m", trigger: "checkout" };
    const options = { headers: { "idempotency-key": "k" } };
    const first = await server.call<Record<string, string>>("POST", "/v1/tokens", body, options);
    const said = [await server.call("POST", "/v1/tokens", body, options)];
    for (const path of ["/v1/tokens", "/v1/triggers", "/v1/audit"]) said.push(await server.call("GET", path));
    const { secret = "", signingSecret = "" } = first.body;
    expect(signingSecret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const text = JSON.stringify(said);
    expect(text).toContain("checkout");
    expect([secret, signingSecret].filter((each) => text.includes(each))).toEqual([]);
  });
});
