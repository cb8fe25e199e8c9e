/** What an agent can pass to an evaluation that it should not: an answer with the right code, and one line. */
import { ErrorCode } from "@openfeature/server-sdk";
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/server.ts";
import { connected, STABLE } from "./agents.ts";

describe("an evaluation", () => {
  test("with a default of another type than the flag's is a TYPE_MISMATCH, told once for each flag", async () => {
    const { client, logged } = await connected();
    for (let call = 0; call < 20; call++) {
      const details = [
        await client.getNumberDetails("support-agent", 7),
        await client.getStringDetails("writes_disabled", "mine"),
        await client.getObjectDetails("banner", { mine: true }),
      ];
      expect(details.map(({ value, errorCode }) => [value, errorCode])).toEqual([
        [7, ErrorCode.TYPE_MISMATCH],
        ["mine", ErrorCode.TYPE_MISMATCH],
        [{ mine: true }, ErrorCode.TYPE_MISMATCH],
      ]);
    }
    expect(logged).toEqual([
      expect.stringMatching(/support-agent fails with TYPE_MISMATCH \(it is an alias and was read as a number\)/),
      expect.stringMatching(
        /writes_disabled fails with TYPE_MISMATCH \(it is a kill switch and was read as a string\)/,
      ),
      expect.stringMatching(/banner fails with TYPE_MISMATCH .*boolean/),
    ]);
  });

  test("of a split without a targeting key gives stable, which is no error, and is told once", async () => {
    const { client, logged } = await connected();
    for (let call = 0; call < 20; call++) {
      const details = await client.getStringDetails("support-agent", "mine", {
        ...(call % 2 && { targetingKey: "" }),
      });
      expect(details).toMatchObject({ value: STABLE, reason: "DEFAULT" });
      expect(details.errorCode).toBeUndefined();
    }
    expect(logged).toEqual([expect.stringMatching(/support-agent is split.*without a targeting key.*stable/)]);
  });

  test.each([7, null, true, ["u"], { id: "u" }])(
    "with %j for a targeting key gives stable, and is told once",
    async (key) => {
      const { client, logged } = await connected();
      const context = { targetingKey: key } as never;
      for (let call = 0; call < 20; call++) {
        expect(await client.getStringDetails("support-agent", "mine", context)).toMatchObject({ value: STABLE });
        expect(await client.getBooleanValue("banner", false, context)).toBe(true);
        expect(await client.getBooleanValue("writes_disabled", true, context)).toBe(false);
      }
      expect(logged).toEqual([expect.stringMatching(/targeting key is no text/)]);
    },
  );

  test("with a context that holds itself is as any other: nothing of it is sent, so there is nothing to tell", async () => {
    const { client, provider, logged } = await connected();
    const context: Record<string, unknown> = { targetingKey: "u", tenant: "acme" };
    context.self = context;
    context.list = [context];
    const cyclic = context as never;
    for (let call = 0; call < 20; call++) {
      expect(await client.getStringValue("support-agent", "mine", cyclic)).toMatch(/^support-agent@/);
      expect(await client.getBooleanDetails("byTenant", true, cyclic)).toMatchObject({
        value: false,
        reason: "TARGETING_MATCH",
      });
      expect(await client.getBooleanValue("writes_disabled", true, cyclic)).toBe(false);
      expect(provider.writesAllowed(cyclic)).toBe(true);
    }
    expect(logged).toEqual([]);
  });

  test("whose flag's rules lead into such a context is an error of its own, told once", async () => {
    const { client, logged } = await connected();
    const context: Record<string, unknown> = { targetingKey: "u" };
    context.self = context;
    for (let call = 0; call < 20; call++) {
      const details = await client.getBooleanDetails("bySelf", true, context as never);
      expect(details).toMatchObject({ value: true, reason: "ERROR", errorCode: ErrorCode.GENERAL });
    }
    expect(logged).toEqual([expect.stringMatching(/bySelf fails with GENERAL/)]);
  });

  test("is followed by tracked details that hold themselves: what can't be read is left out, and told once", async () => {
    const { client, provider, logged } = await connected();
    const attributes: Record<string, unknown> = { tenant: "acme" };
    attributes.self = attributes;
    const context = { targetingKey: "u" };
    await client.getStringValue("support-agent", "mine", context);
    for (let call = 0; call < 20; call++) {
      client.track("agent.run.outcome", context, { status: "success", attributes } as never);
    }
    await eventually("all are acknowledged", () => provider.outcomeStatistics.pending === 0);
    expect(provider.outcomeStatistics.dropped.invalid).toBe(0);
    expect(logged).toEqual([expect.stringMatching(/attributes/)]);
  });
});
