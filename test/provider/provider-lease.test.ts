/**
 * What a provider answers once its lease has lapsed.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { killSwitch, ONE_OF_EACH, STABLE } from "./documents.ts";
import type { FakeServer } from "./fake-server.ts";
import { connect, fakeProvider, fakeServer, keysOf } from "./harness.ts";

let server: FakeServer;
beforeEach(async () => {
  server = await fakeServer(...ONE_OF_EACH);
});

describe("a lapsed lease", () => {
  test("engages the switch and serves stable, at the evaluation itself and not by a timer", async () => {
    const start = performance.now();
    let jumpMs = 0;
    const clock = {
      monotonicMs: () => performance.now(),
      wallMs: () => 1_700_000_000_000 + performance.now() - start + jumpMs,
    };
    const { provider, client } = await connect(server, { clock });
    const { candidateKey } = keysOf(provider);
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    jumpMs = 15_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
    expect(provider.version("support-agent", candidateKey)).toBe(STABLE);
    expect(await client.getBooleanDetails("writes_disabled", false, { agent: "any" })).toMatchObject({
      value: true,
      reason: "STALE",
    });
    expect(await client.getStringDetails("support-agent", "x", { targetingKey: candidateKey })).toMatchObject({
      value: STABLE,
      reason: "STALE",
    });
  });

  test("gives every other flag its value with reason STALE, and its own reason under a live one", async () => {
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { client } = await connect(server, { clock });
    const reasons = async () => [
      (await client.getBooleanDetails("banner", false)).reason,
      (await client.getBooleanDetails("byTenant", true, { tenant: "acme" })).reason,
      (await client.getBooleanDetails("unknown", true)).reason,
    ];
    expect(await reasons()).toEqual(["STATIC", "TARGETING_MATCH", "ERROR"]);
    jumpMs = 15_000;
    expect(await reasons()).toEqual(["STALE", "STALE", "ERROR"]);
    jumpMs = 0;
    expect(await reasons()).toEqual(["STATIC", "TARGETING_MATCH", "ERROR"]);
  });

  test("leaves a switch at its last value where its fail-safe says so", async () => {
    server.hold({ ...killSwitch(), failSafe: { engage: false, afterMs: 0 } });
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { provider, client } = await connect(server, { clock });
    jumpMs = 3_600_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    expect(await client.getBooleanDetails("writes_disabled", true, { agent: "any" })).toMatchObject({
      value: false,
      reason: "STALE",
    });
  });

  test("waits the switch's afterMs past the lease", async () => {
    server.hold({ ...killSwitch(), failSafe: { engage: true, afterMs: 5_000 } });
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { provider } = await connect(server, { clock });
    jumpMs = 15_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    jumpMs = 20_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
  });

  test("never came: no READY, and no write", async () => {
    server.leases = false;
    const provider = fakeProvider(server, { initTimeoutMs: 200 }).provider;
    await expect(provider.initialize()).rejects.toMatchObject({ code: "unreachable" });
    // It goes on connecting where the machine was too slow for it.
    await server.until(() => server.messages("applied").some(({ revision }) => revision === 1));
    expect(provider.revision).toBe(1);
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
    await provider.onClose();
  });
});
