/** A conversation's token: what it says, and which version the conversation's next run gets by it. */
import { withRun } from "@flagback/provider";
import type { RuntimeAlias } from "@flagback/schemas";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { alias, CANDIDATE, rolledBack, STABLE } from "./documents.ts";
import { startToolkit, type ToolkitSetup } from "./toolkit-setup.ts";

/** So long that none is renewed while the clock is put forward. */
const LEASE_MS = 3_600_000;
let jumpMs = 0;
let setup: ToolkitSetup;
beforeEach(async () => {
  jumpMs = 0;
  const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() + jumpMs };
  setup = await startToolkit({ clock }, { leaseMs: LEASE_MS });
  await setup.change(sticky());
});

/** `support-agent`, where conversations keep their version. */
const sticky = (over: Partial<RuntimeAlias> = {}) => alias({ revision: 2, stickiness: "conversation", ...over });
const weights = (candidate: number) => [
  { version: CANDIDATE, weight: candidate },
  { version: STABLE, weight: 100_000 - candidate },
];
const run = (over: object = {}) => ({ client: setup.client(), agent: "support-agent", ...over });

/** The token of a run that pinned its version. */
function tokenOf(conversationId: string, ...aliases: string[]): Promise<string> {
  return withRun(run({ conversationId }), async (current) => {
    await current.pin("support-agent", "none");
    for (const each of aliases) await current.pin(each, "none");
    return current.token();
  });
}

/** The version that a conversation's next run gets. */
const next = (token: string, over: object = {}) =>
  withRun(run({ token, ...over }), (current) => current.pin("support-agent", "none"));

describe("a conversation that brings its token", () => {
  test("keeps its version through a ramp, up and down, until that version is withdrawn", async () => {
    const { change, provider } = setup;
    const onCandidate = setup.candidateConversation();
    const token = await tokenOf(onCandidate);
    await change(sticky({ allocation: weights(1) }));
    expect(provider.version("support-agent", onCandidate)).toBe(STABLE);
    expect(await next(token)).toBe(CANDIDATE);

    const onStable = await tokenOf("early");
    expect(provider.version("support-agent", "early")).toBe(STABLE);
    await change(sticky({ allocation: weights(100_000) }));
    expect(provider.version("support-agent", "early")).toBe(CANDIDATE);
    expect(await next(onStable)).toBe(STABLE);

    await change(sticky({ allocation: weights(0) }));
    expect(await next(token)).toBe(STABLE);
  });

  test("goes on under its own ids, and its run is announced and reported as every other", async () => {
    const { server, change, provider } = setup;
    const conversationId = setup.candidateConversation();
    const token = await tokenOf(conversationId);
    await change(sticky({ revision: 3, allocation: weights(1) }));
    await withRun(run({ token }), async (current) => {
      expect(current).toMatchObject({ conversationId, targetingKey: conversationId, parentRunId: undefined });
      expect(await current.pinned("support-agent", "none")).toMatchObject({
        version: CANDIDATE,
        payload: { prompt: "new" },
        role: "candidate",
        stage: "validation",
        reason: "TARGETING_MATCH",
        isDefault: false,
      });
    });
    await provider.onClose();
    expect(server.outcomes.map(({ version, conversationId: id }) => [version, id])).toEqual([
      [CANDIDATE, conversationId],
      [CANDIDATE, conversationId],
    ]);
    // Under the revision that it was served from now: it is a run of today's rollout.
    expect(server.batches.flatMap((batch) => batch.assigned).map((group) => group.revision)).toEqual([2, 3]);
  });

  test("keeps nothing where the policy says stickiness: run", async () => {
    const token = await tokenOf(setup.candidateConversation());
    await setup.change(alias({ revision: 3, allocation: weights(1) }));
    expect(await next(token)).toBe(STABLE);
  });

  test("finishes on a version without weight only where the alias says so", async () => {
    const token = await tokenOf(setup.candidateConversation());
    await setup.change(sticky({ allocation: weights(0), finishing: [CANDIDATE] }));
    expect(await next(token)).toBe(CANDIDATE);
    expect(
      await withRun(run({ conversationId: setup.provider.instance }), (other) => other.pin("support-agent", "")),
    ).toBe(STABLE);
    await setup.change(sticky({ revision: 4, allocation: weights(0) }));
    expect(await next(token)).toBe(STABLE);
  });

  test.each(["finish", "block_writes", "abort"] as const)(
    "does not keep a version that was rolled back (%s), and its run is not revoked for it",
    async (revoke) => {
      const token = await tokenOf(setup.candidateConversation());
      await setup.change({ ...rolledBack(revoke), stickiness: "conversation", finishing: [CANDIDATE] });
      await withRun(run({ token }), async (current) => {
        expect(await current.pin("support-agent", "none")).toBe(STABLE);
        expect([current.signal.aborted, current.writesAllowed()]).toEqual([false, true]);
      });
    },
  );

  test("keeps a candidate only under a live lease, and stable always", async () => {
    const onCandidate = await tokenOf(setup.candidateConversation());
    const onStable = await tokenOf("early");
    jumpMs = LEASE_MS;
    expect(await next(onCandidate)).toBe(STABLE);
    await withRun(run({ token: onStable }), async (current) => {
      expect(await current.pinned("support-agent", "none")).toMatchObject({ version: STABLE, reason: "STALE" });
    });
  });

  test("hands on what a run did not ask for to the run after it", async () => {
    await setup.change(sticky({ key: "planner", salt: "planner" }));
    const conversationId = setup.candidateConversation("planner");
    const first = await tokenOf(conversationId, "planner");
    const second = await withRun(run({ token: first }), (current) => current.token());
    await setup.change(sticky({ key: "planner", salt: "planner", revision: 3, allocation: weights(1) }));
    expect(await withRun(run({ token: second }), (current) => current.pin("planner", "none"))).toBe(CANDIDATE);
  });

  test("keeps its version in runs inside of its run as well", async () => {
    const token = await tokenOf(setup.candidateConversation());
    await setup.change(sticky({ revision: 3, allocation: weights(1) }));
    const version = await withRun(run({ token }), () =>
      withRun({ agent: "planner" }, (inner) => inner.pin("support-agent", "none")),
    );
    expect(version).toBe(CANDIDATE);
  });

  test("of another conversation is told apart", async () => {
    const token = await tokenOf(setup.candidateConversation());
    await setup.change(sticky({ allocation: weights(1) }));
    expect(await next(token, { conversationId: "another" })).toBe(STABLE);
    expect(setup.said).toEqual([expect.stringContaining("another conversation")]);
  });
});

describe("a token", () => {
  test("is text that goes through a URL, a header and a cookie as it is", async () => {
    const token = await withRun(run({ runId: "läuft", conversationId: "日本 \ud800" }), (current) => current.token());
    expect(token).toMatch(/^fbrun1_[A-Za-z0-9_-]+$/);
    await withRun(run({ token }), (current) => expect(current.conversationId).toBe("日本 \ud800"));
  });

  test("is no longer than 4096 characters, whatever the run is called and however much it pins", async () => {
    const aliases = Array.from({ length: 60 }, (_, i) => alias({ key: `agent-${i}`.padEnd(120, "x") }));
    await setup.change(...aliases);
    const over = { runId: "r".repeat(128), conversationId: "c".repeat(500), agent: "a".repeat(500) };
    await withRun(run(over), async (current) => {
      for (const each of aliases) await current.pin(each.key, "none");
      const token = current.token();
      expect(token.length).toBeLessThanOrEqual(4_096);
      expect(current.token()).toBe(token);
      await withRun(run({ token, inherit: false }), (again) => expect(again.conversationId).toBe("c".repeat(500)));
    });
    await withRun(run({ conversationId: "c".repeat(5_000) }), (current) => {
      expect(current.token().length).toBeLessThanOrEqual(4_096);
    });
    expect(setup.said).toContainEqual(expect.stringContaining("too long"));
  });

  test("says nothing of a fallback, nor of a flag that is no alias", async () => {
    const token = await withRun(run({ conversationId: "c" }), async (current) => {
      await current.pin("unknown", "unknown@1");
      await current.pin("greeting", "hello");
      return current.token();
    });
    const [, body = ""] = /^fbrun1_.{8}(.*)$/.exec(token) ?? [];
    expect(JSON.parse(Buffer.from(body, "base64url").toString())).toMatchObject({ pins: [] });
  });

  test("that was cut or changed anywhere is ignored, with one log line, and never thrown over", async () => {
    const token = await tokenOf(setup.candidateConversation());
    await setup.change(sticky({ allocation: weights(1) }));
    const at = fc.nat(token.length - 1);
    const damaged = fc.oneof(
      at.map((length) => token.slice(0, length)),
      fc
        .tuple(at, fc.constantFrom("A", "_", "-", " ", "é"))
        .map(([i, by]) => token.slice(0, i) + by + token.slice(i + 1)),
      fc.string({ unit: "binary" }),
      fc.constantFrom(7, {}, [], true, `fbrun1_${"x".repeat(5_000)}`),
    );
    await fc.assert(
      fc.asyncProperty(damaged, async (text) => {
        if (text === token) return;
        await withRun(run({ token: text }), async (current) => {
          expect(current.conversationId).toBeUndefined();
          expect(["none", STABLE]).toContain(await current.pin("support-agent", "none"));
        });
      }),
    );
    // One for each kind of damage: no prefix, another checksum, too long.
    expect(setup.said.length).toBeLessThanOrEqual(3);
  });

  test.each([42, null, {}, Symbol("c")])(
    "of a run whose ids are no text is made without a throw, and so is its baggage",
    async (id) => {
      const over = { conversationId: id, agent: id } as never as { agent: string };
      await withRun(run(over), (current) => {
        expect(current.token()).toMatch(/^fbrun1_/);
        expect(current.baggage()).toContain("flagback.run=");
      });
    },
  );

  test("that is none is no problem", async () => {
    for (const token of [undefined, null, ""])
      await withRun(run({ token }), (current) => current.pin("support-agent", ""));
    expect(setup.said).toEqual([]);
  });
});

test("no sequence of tokens, baggage and documents hands a run a version that nobody may be served", async () => {
  const document = fc
    .record({
      candidate: fc.constantFrom(0, 1, 50_000, 100_000),
      isRevoked: fc.boolean(),
      isFinishing: fc.boolean(),
      isCarried: fc.boolean(),
      isSticky: fc.boolean(),
    })
    .map(({ candidate, isRevoked, isFinishing, isCarried, isSticky }): RuntimeAlias => {
      const { versions, ...rest } = alias();
      const { [STABLE]: stable, [CANDIDATE]: other } = versions;
      return {
        ...rest,
        allocation: weights(candidate),
        // Also what no server sends: a document that contradicts itself.
        versions: { ...(stable && { [STABLE]: stable }), ...(isCarried && other && { [CANDIDATE]: other }) },
        revoked: { ...(isRevoked && { [CANDIDATE]: "finish" }) },
        ...(isFinishing && { finishing: [CANDIDATE] }),
        ...(isSticky && { stickiness: "conversation" }),
      };
    });
  const step = fc.record({
    document: fc.option(document),
    conversation: fc.nat(5),
    /** Which of what was said before is brought: by age. */
    token: fc.option(fc.nat(5)),
    baggage: fc.option(fc.nat(5)),
    isLapsed: fc.boolean(),
  });
  let revision = 10;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const tokens: string[] = [];
      const headers: string[] = [];
      await setup.change(sticky({ revision: ++revision }));
      let current: RuntimeAlias = sticky();
      jumpMs = 0;
      for (const each of steps) {
        if (each.document) {
          current = { ...each.document, revision: ++revision };
          await setup.change(current);
        }
        const conversationId = each.token === null ? `conversation-${each.conversation}` : undefined;
        const token = each.token === null ? null : tokens.at(-1 - each.token);
        const baggage = each.baggage === null ? null : headers.at(-1 - each.baggage);
        const isLive = !each.isLapsed;
        jumpMs = isLive ? 0 : LEASE_MS;
        await withRun(run({ conversationId, token, baggage }), async (made) => {
          const version = await made.pin("support-agent", STABLE);
          if (version !== STABLE) {
            const isServed = current.allocation.some((slot) => slot.version === version && slot.weight > 0);
            const isFinishing = current.finishing?.includes(version) ?? false;
            const isBrought = (token ?? baggage) != null;
            expect(isLive && Object.hasOwn(current.versions, version)).toBe(true);
            expect(current.revoked).toEqual({});
            expect(isServed || (isFinishing && isBrought)).toBe(true);
          }
          tokens.push(made.token());
          headers.push(made.baggage());
        });
      }
      jumpMs = 0;
    }),
    { numRuns: 200 },
  );
});
