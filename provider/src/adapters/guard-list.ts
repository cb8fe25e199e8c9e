/**
 * Guards tools that come as a list and know their names.
 */
import type { Guard } from "../toolkit/guarded-call.ts";
import { toolGuards } from "../toolkit/tool-guards.ts";
import type { GuardOptions } from "../toolkit/write-rule.ts";

/** The names that a tool may have, as far as its type tells. */
export type NameOf<Tool> = Tool extends { readonly name: infer Name extends string } ? Name : string;

export interface ListedTools {
  /** Why a tool's calls can't be stopped; undefined where they can be. */
  obstacleOf(tool: object): string | undefined;
  /** The tool guarded, or the tool itself where there is nothing to guard. */
  guard(tool: object, guard: Guard): object;
}

/** @throws FlagbackError `usage` for a write that can't be stopped from here, and for a name that is a write and a read */
export function guardList<Tools extends readonly object[]>(
  tools: Tools,
  options: GuardOptions | undefined,
  { obstacleOf, guard }: ListedTools,
): Tools {
  const guards = toolGuards(
    tools.map((tool) => ({ name: nameOf(tool), tool, obstacle: obstacleOf(tool) })),
    options,
  );
  const guarded = tools.map((tool, i) => {
    const its = guards[i];
    return its ? guard(tool, its) : tool;
  });
  // One for one, of the same shape.
  return guarded as readonly object[] as Tools;
}

/** Tools that a provider runs may have their type alone. */
function nameOf(tool: object): string {
  const { name, type } = tool as { readonly name?: unknown; readonly type?: unknown };
  return String(name ?? type ?? "a tool without a name");
}
