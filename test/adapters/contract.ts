/**
 * What a guard must do in every framework, with the framework's own agent loop and a model that follows a script.
 */
import { describe, expect, test } from "vitest";
import { type Bodies, openShop, shopTools, WRITE_DENIED } from "./shop.ts";

export interface ToolCall {
  readonly tool: string;
  readonly input: string;
}

/** What the model asks for in one answer, after something happened. After the last turn it says "done". */
export interface Turn {
  readonly before?: () => Promise<void>;
  readonly calls: readonly ToolCall[];
}

export interface Told {
  /** What the model read as the results of its calls, in order. */
  readonly results: readonly string[];
  /** What the agent answers at last. */
  readonly text: string;
}

export interface ScriptedAgent {
  /** Runs the framework's loop. `signal` is what a caller would pass it to abort. */
  run(script: Script, signal: AbortSignal): Promise<Told>;
}

export interface Framework {
  /** An agent with these tools, of which `refund` is guarded as a write. */
  agent(bodies: Bodies): ScriptedAgent | Promise<ScriptedAgent>;
  /** What the model reads when a tool throws; null where the framework ends the agent's run instead. */
  readonly toolError: string | RegExp | null;
}

/** The next turn of a scripted model: calls with ids of their own, or null for its last word. */
export class Script {
  readonly #turns: readonly Turn[];
  #next = 0;

  constructor(turns: readonly Turn[]) {
    this.#turns = turns;
  }

  async next(): Promise<readonly (ToolCall & { readonly id: string })[] | null> {
    const turn = this.#turns[this.#next];
    const prefix = `call-${this.#next}`;
    this.#next += 1;
    await turn?.before?.();
    return turn?.calls.map((call, i) => ({ ...call, id: `${prefix}-${i}` })) ?? null;
  }
}

/** A model that asks for each in turn. */
export function script(...turns: (Turn | ToolCall)[]): Script {
  return new Script(turns.map((turn) => ("calls" in turn ? turn : { calls: [turn] })));
}

export function describeGuard(name: string, framework: Framework): void {
  describe(`a guarded tool in ${name}`, () => {
    test("that writes does not run while writes are disabled, the model is told, and the run counts for nothing", async () => {
      const shop = await openShop();
      const { done, bodies } = shopTools();
      const agent = await framework.agent(bodies);
      await shop.engage();

      const denied = await shop.run((run) => agent.run(script({ tool: "refund", input: "1" }), run.signal));

      expect(done).toEqual([]);
      expect(denied.result).toEqual({ results: [WRITE_DENIED], text: "done" });
      expect(WRITE_DENIED).toMatch(/not performed.*Do not retry.*Tell the user/);
      expect(denied.outcome).toMatchObject({ status: "success", blockedWrites: 1 });
      expect(denied.outcome).not.toHaveProperty("writes");

      await shop.release();
      const allowed = await shop.run((run) => agent.run(script({ tool: "refund", input: "2" }), run.signal));

      expect(done).toEqual(["refund 2"]);
      expect(allowed.result).toEqual({ results: ["refunded 2"], text: "done" });
      expect(allowed.outcome).toMatchObject({ status: "success", toolCalls: 1, toolErrors: 0, writes: 1 });
      expect(allowed.outcome).not.toHaveProperty("blockedWrites");
      // Two runs have settled, and the brain judges the one that could do its work.
      const standing = await shop.server.judged(1);
      expect(standing.traffic.map(({ settled }) => settled).reduce((a, b) => a + b)).toBe(2);
    });

    test("asks right before each write: a switch that is engaged between two calls of a run stops the second", async () => {
      const shop = await openShop();
      const { done, bodies } = shopTools();
      const agent = await framework.agent(bodies);

      const { result, outcome } = await shop.run((run) =>
        agent.run(
          script(
            { tool: "refund", input: "1" },
            { before: () => shop.engage("tool=refund"), calls: [{ tool: "refund", input: "2" }] },
            { tool: "search", input: "shoes" },
          ),
          run.signal,
        ),
      );

      expect(done).toEqual(["refund 1", "search shoes"]);
      expect(result?.results).toEqual(["refunded 1", WRITE_DENIED, "found shoes"]);
      expect(outcome).toMatchObject({ status: "success", toolCalls: 2, writes: 1, blockedWrites: 1 });
    });

    test("is stopped among parallel calls, and what reads goes on", async () => {
      const shop = await openShop();
      const { done, bodies } = shopTools();
      const agent = await framework.agent(bodies);
      await shop.engage();

      const { result, outcome } = await shop.run((run) =>
        agent.run(
          script({
            calls: [
              { tool: "refund", input: "1" },
              { tool: "search", input: "shoes" },
              { tool: "refund", input: "2" },
            ],
          }),
          run.signal,
        ),
      );

      expect(done).toEqual(["search shoes"]);
      expect(result?.results).toEqual([WRITE_DENIED, "found shoes", WRITE_DENIED]);
      expect(outcome).toMatchObject({ status: "success", toolCalls: 1, toolErrors: 0, blockedWrites: 2 });
    });

    test("that throws is counted as one error, and the framework does with it what it always does", async () => {
      const shop = await openShop();
      const { done, bodies } = shopTools();
      const agent = await framework.agent(bodies);

      const { result, error, outcome } = await shop.run((run) =>
        agent.run(script({ tool: "broken", input: "1" }), run.signal),
      );

      expect(done).toEqual(["broken 1"]);
      expect(outcome).toMatchObject({ toolCalls: 1, toolErrors: 1 });
      if (framework.toolError === null) {
        expect(String(error)).toContain("the shop is closed");
        expect(outcome.status).toBe("failure");
      } else {
        expect(result).toEqual({ results: [expect.stringMatching(framework.toolError)], text: "done" });
        expect(outcome.status).toBe("success");
      }
    });

    test("is aborted with its run when the version is revoked, and the run ends as cancelled by policy", async () => {
      const shop = await openShop({ onBreach: { revoke: "abort" } });
      const { done, bodies } = shopTools();
      const agent = await framework.agent({
        ...bodies,
        wait: (input, signal) => {
          const waiting = bodies.wait(input, signal);
          return Promise.race([waiting, shop.rollBack().then(() => waiting)]);
        },
      });

      const { error, outcome } = await shop.run((run) => agent.run(script({ tool: "wait", input: "1" }), run.signal));

      expect(done).toEqual(["wait 1", "aborted"]);
      expect(error).toBeDefined();
      expect(outcome).toMatchObject({ status: "cancelled", errorOrigin: "policy" });
    });

    test("outside of a run counts for nobody, and what writes does not run", async () => {
      const { done, bodies } = shopTools();
      const agent = await framework.agent(bodies);

      const calls = [
        { tool: "search", input: "shoes" },
        { tool: "refund", input: "1" },
      ] as const;
      const told = await agent.run(script(...calls), new AbortController().signal);

      expect(done).toEqual(["search shoes"]);
      expect(told.results).toEqual(["found shoes", WRITE_DENIED]);
    });
  });
}
