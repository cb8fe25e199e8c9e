/**
 * What a scripted model of the AI SDK says, and what it was told.
 */
import type { Script } from "./contract.ts";

const USAGE = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};

interface CallPart {
  readonly type: "tool-call";
  readonly toolCallId: string;
  readonly toolName: string;
  readonly input: string;
}
type Part = CallPart | { readonly type: "text"; readonly text: string };

/** One answer of the model, in the parts that both versions take. It heeds its signal, as a request does. */
export async function answer(script: Script, { abortSignal }: { readonly abortSignal?: AbortSignal }) {
  abortSignal?.throwIfAborted();
  const calls = await script.next();
  const content: Part[] = calls
    ? calls.map(({ id, tool, input }) => ({
        type: "tool-call",
        toolCallId: id,
        toolName: tool,
        input: JSON.stringify({ input }),
      }))
    : [{ type: "text", text: "done" }];
  const finishReason = { unified: calls ? ("tool-calls" as const) : ("stop" as const), raw: undefined };
  return { content, finishReason, usage: USAGE, warnings: [] };
}

export async function streamed(script: Script, call: { readonly abortSignal?: AbortSignal }) {
  const { content, finishReason, usage } = await answer(script, call);
  const chunks = [
    { type: "stream-start" as const, warnings: [] },
    ...content.flatMap((part): (CallPart | TextPart)[] => (part.type === "tool-call" ? [part] : textOf(part.text))),
    { type: "finish" as const, finishReason, usage },
  ];
  return { stream: chunkStream(chunks) };
}

type TextPart = ReturnType<typeof textOf>[number];

function chunkStream<Chunk>(chunks: readonly Chunk[]) {
  return new ReadableStream<Chunk>({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

function textOf(delta: string) {
  return [
    { type: "text-start" as const, id: "1" },
    { type: "text-delta" as const, id: "1", delta },
    { type: "text-end" as const, id: "1" },
  ];
}

/** What the model was given as results, in the last prompt that it got. */
export function resultsIn(
  calls: readonly { readonly prompt: readonly { readonly role: string; readonly content: unknown }[] }[],
) {
  const messages = calls.at(-1)?.prompt.filter(({ role }) => role === "tool") ?? [];
  const parts = messages.flatMap(({ content }) => content as { readonly output: { readonly value: string } }[]);
  return parts.map(({ output }) => output.value);
}
