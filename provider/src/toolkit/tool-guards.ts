/**
 * Decides once, when tools are guarded, how each of them is.
 */
import { FlagbackError } from "@flagback/schemas";
import type { Guard } from "./guarded-call.ts";
import { type GuardOptions, writeRule } from "./write-rule.ts";

export interface NamedTool {
  readonly name: string;
  readonly tool: unknown;
  /** Why its calls can't be stopped from here; undefined where they can be. */
  readonly obstacle: string | undefined;
}

/**
 * The guard of each tool, in order; undefined for a tool that is to be left as it is.
 * @throws FlagbackError `usage` for a write that can't be stopped from here
 */
export function toolGuards(tools: readonly NamedTool[], options: GuardOptions = {}): readonly (Guard | undefined)[] {
  const rule = writeRule(
    options,
    tools.map(({ name }) => name),
  );
  const judged = tools.map((each) => ({ ...each, kind: rule.kindOf(each.name, each.tool) }));
  const beyondReach = judged.filter(({ kind, obstacle }) => kind === "write" && obstacle !== undefined);
  if (beyondReach.length > 0) throw unstoppable(beyondReach);
  return judged.map(({ name, kind, obstacle }) =>
    obstacle === undefined || kind === "read"
      ? { tool: name, isWrite: kind !== "read", problems: rule.problems }
      : undefined,
  );
}

function unstoppable(tools: readonly NamedTool[]): FlagbackError {
  const reasons = tools.map(({ name, obstacle }) => `${JSON.stringify(name)} ${obstacle}`);
  return new FlagbackError({
    code: "usage",
    message: `These tools count as writes and can't be stopped from here: ${reasons.join("; ")}.`,
    hint: "Give them to the model only while it may write, or name them in 'reads' where they change nothing.",
    problems: reasons,
  });
}
