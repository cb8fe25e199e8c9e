/**
 * A scripted model of LangChain, and what it was told.
 */
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";
import type { Script, Told } from "./contract.ts";

/** A model that says what its script says. */
export class ScriptedModel extends BaseChatModel {
  readonly #script: Script;

  constructor(script: Script) {
    super({});
    this.#script = script;
  }

  _llmType(): string {
    return "scripted";
  }

  override bindTools(): this {
    return this;
  }

  async _generate(): Promise<ChatResult> {
    const calls = await this.#script.next();
    const message = calls
      ? new AIMessage({
          content: "",
          tool_calls: calls.map(({ id, tool: name, input }) => ({ id, name, args: { input }, type: "tool_call" })),
        })
      : new AIMessage("done");
    return { generations: [{ text: message.text, message }] };
  }
}

/** What the model read, and what the agent said at last. */
export function told(messages: readonly BaseMessage[]): Told {
  return {
    results: messages.filter(ToolMessage.isInstance).map(({ text }) => text),
    text: messages.at(-1)?.text ?? "",
  };
}
