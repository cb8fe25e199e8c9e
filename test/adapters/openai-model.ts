/**
 * A scripted model of the OpenAI Agents SDK, and what it was told.
 */
import type { AgentInputItem } from "@openai/agents";
import { assistantMessage, functionCall, modelResponder, ScriptedModel } from "@openai/agents/testing";
import type { Script, Told } from "./contract.ts";

const MAX_ANSWERS = 9;

export function modelOf(script: Script) {
  const answer = modelResponder(async () => {
    const calls = await script.next();
    return (
      calls?.map(({ id, tool: name, input }) => functionCall(name, { input }, { callId: id })) ?? [
        assistantMessage("done"),
      ]
    );
  });
  return new ScriptedModel(Array.from({ length: MAX_ANSWERS }, () => answer));
}

/** What the model read, and what the agent said at last. */
export function told(history: readonly AgentInputItem[], text: string | undefined): Told {
  const results = history.flatMap((item) => (item.type === "function_call_result" ? [textOf(item.output)] : []));
  return { results, text: text ?? "" };
}

function textOf(output: unknown): string {
  if (typeof output === "string") return output;
  const parts = Array.isArray(output) ? output : [output];
  return parts.map((part: { readonly text?: string }) => part.text).join("");
}
