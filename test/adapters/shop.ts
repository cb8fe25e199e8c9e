/**
 * A real server with a rollout, a real provider, and the tools of a shop, for agents of every framework.
 */
import { FlagbackProvider, type Run, WRITE_DENIED, withRun } from "@flagback/provider";
import type { StreamOutcome } from "@flagback/schemas";
import { OpenFeature } from "@openfeature/server-sdk";
import { onTestFinished } from "vitest";
import { ALIAS, CANDIDATE, exposing, type RolloutServer, STABLE } from "../support/rollout.ts";
import { StreamTap } from "../support/stream-tap.ts";

export { WRITE_DENIED };

export type ToolName = "search" | "refund" | "broken" | "wait";
export const WRITES = ["refund"] as const satisfies readonly ToolName[];

/** What a tool does, below every framework. */
export type ToolBody = (input: string, signal: AbortSignal | undefined) => Promise<string>;

export type Bodies = Readonly<Record<ToolName, ToolBody>>;

/** Tools that write down what they did. */
export function shopTools() {
  const done: string[] = [];
  const bodies: Bodies = {
    search: async (input) => {
      done.push(`search ${input}`);
      return `found ${input}`;
    },
    refund: async (input) => {
      done.push(`refund ${input}`);
      return `refunded ${input}`;
    },
    broken: async (input) => {
      done.push(`broken ${input}`);
      throw new Error("the shop is closed");
    },
    // Ends with its signal only.
    wait: (input, signal) =>
      new Promise((_, reject) => {
        done.push(`wait ${input}`);
        signal?.addEventListener("abort", () => {
          done.push("aborted");
          reject(signal.reason);
        });
      }),
  };
  return { done, bodies };
}

export interface Shop {
  readonly server: RolloutServer;
  readonly provider: FlagbackProvider;
  /** What the provider said to its logger. */
  readonly log: readonly string[];
  engage(scope?: string): Promise<void>;
  release(): Promise<void>;
  rollBack(): Promise<void>;
  /** Runs the body as a run of the candidate, and answers how it ended and what the server has of it. */
  run<Result>(body: (run: Run) => Promise<Result>): Promise<Ended<Result>>;
}

export interface Ended<Result> {
  readonly result: Result | undefined;
  readonly error: unknown;
  readonly outcome: StreamOutcome;
}

export async function openShop(policy: Parameters<typeof exposing>[0] = {}): Promise<Shop> {
  const rollout = await exposing(policy);
  const { server } = rollout;
  const tap = await StreamTap.before(server.url);
  onTestFinished(() => tap.close());
  const log: string[] = [];
  const provider = new FlagbackProvider({
    url: tap.url,
    token: await server.token("runtime"),
    logger: { warn: (line) => log.push(line), error: (line) => log.push(line) },
  });
  const domain = `shop ${provider.instance}`;
  await OpenFeature.setProviderAndWait(domain, provider);
  onTestFinished(() => provider.onClose());
  const client = OpenFeature.getClient(domain);
  const conversations = candidateConversations(provider);
  const operate = async (path: string, body: object) => {
    const answer = await server.call("POST", `${path}?wait=applied`, { reason: "a test", ...body });
    if (answer.status !== 200) throw new Error(`${path} answered ${JSON.stringify(answer.body)}`);
  };
  return {
    server: rollout,
    provider,
    log,
    engage: (scope) => operate("/v1/kill-switches/writes_disabled/engage", scope ? { scope } : {}),
    release: () => operate("/v1/kill-switches/writes_disabled/release", {}),
    rollBack: () => operate(`/v1/aliases/${ALIAS}/rollback`, {}),
    run: async (body) => {
      let runId = "";
      const running = withRun({ client, agent: ALIAS, conversationId: conversations.next().value }, async (run) => {
        runId = run.runId;
        await run.pin(ALIAS, STABLE);
        return body(run);
      });
      const ended = await running.then(
        (result) => ({ result, error: undefined }),
        (error: unknown) => ({ result: undefined, error }),
      );
      return { ...ended, outcome: await tap.outcomeOf(runId) };
    },
  };
}

/** Conversations that are served the candidate, each once. */
function* candidateConversations(provider: FlagbackProvider): Generator<string, never> {
  for (let i = 0; ; i++) {
    const conversation = `conversation-${i}`;
    if (provider.version(ALIAS, conversation) === CANDIDATE) yield conversation;
  }
}
