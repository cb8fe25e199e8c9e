/**
 * Which tools change something. What nobody vouches for is a write.
 */
import { FlagbackError } from "@flagback/schemas";

/** Decides for one tool. Anything but `false` makes it a write. */
export type WriteTest = (name: string, tool: unknown) => boolean;

/**
 * Without any: every tool is a write that doesn't say `readOnlyHint: true` of itself, as tools from MCP servers may.
 */
export interface GuardOptions<Name extends string = string> {
  /**
   * The tools that change something; of your own tools the others are reads then. A tool from an MCP server is a read only
   * if it says so or is among `reads`. Or a function that decides for each tool; it is asked once, when they are guarded.
   */
  readonly writes?: readonly Name[] | WriteTest;
  /** The tools that change nothing, whatever they say of themselves. */
  readonly reads?: readonly Name[];
}

/** For guards that meet tools only as they are called: a list of writes can't be checked then, and a misspelt one let through. */
export interface CallGuardOptions {
  /** Decides for each call. Anything but `false` makes it a write. */
  readonly writes?: WriteTest;
  /** The tools that change nothing. All others are writes, but those from an MCP server that say `readOnlyHint: true`. */
  readonly reads?: readonly string[];
}

/** `unsure`: a read by omission from a list of writes that is not whole. */
export type ToolKind = "read" | "write" | "unsure";

export interface WriteRule {
  kindOf(name: string, tool: unknown): ToolKind;
  /** What a person should know about how the tools were named. */
  readonly problems: readonly string[];
}

/**
 * The rule for a set of tools. A name in `writes` that is no tool may be a misspelt one: then no tool is a read by omission.
 * @param known names of all tools, where they are known beforehand
 * @throws FlagbackError `usage` for a name that is a write and a read
 */
export function writeRule(options: GuardOptions, known?: readonly string[]): WriteRule {
  const { writes } = options;
  const reads = new Set(options.reads);
  if (typeof writes === "function") {
    return {
      kindOf: (name, tool) => (reads.has(name) || writes(name, tool) === false ? "read" : "write"),
      problems: strangers("read", reads, known),
    };
  }
  const named = new Set(writes);
  const both = [...named].filter((name) => reads.has(name));
  if (both.length > 0) throw contradiction(both);
  const unknownWrites = strangers("write", named, known);
  const otherwise: ToolKind = writes === undefined ? "write" : unknownWrites.length > 0 ? "unsure" : "read";
  return {
    kindOf: (name, tool) => {
      if (named.has(name)) return "write";
      if (reads.has(name) || isReadOnly(tool)) return "read";
      return isFromMcp(tool) ? "write" : otherwise;
    },
    problems: [...unknownWrites, ...strangers("read", reads, known)],
  };
}

/**
 * Names of the tools that say `readOnlyHint: true`, from what an MCP server lists; for `reads`, where a framework drops the
 * hints. It is the server's word: use it with servers that you trust.
 */
export function readsOf(tools: readonly { readonly name: string; readonly annotations?: unknown }[]): string[] {
  return tools.filter(isReadOnly).map(({ name }) => name);
}

/** MCP's only promise that nothing changes. `destructiveHint: false` is none: what adds something is a write as well. */
function isReadOnly(tool: unknown): boolean {
  return field(field(tool, "annotations") ?? field(field(tool, "metadata"), "annotations"), "readOnlyHint") === true;
}

/** Annotations as in MCP's own list or as LangChain and the AI SDK keep them; tools that the AI SDK defines at run time. */
function isFromMcp(tool: unknown): boolean {
  const metadata = field(tool, "metadata");
  return (
    has(tool, "annotations") ||
    has(metadata, "annotations") ||
    (has(metadata, "clientName") && has(metadata, "toolName")) ||
    field(tool, "type") === "dynamic"
  );
}

function has(value: unknown, key: string): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && key in value;
}

function field(value: unknown, key: string): unknown {
  return has(value, key) ? value[key] : undefined;
}

function strangers(kind: "write" | "read", names: ReadonlySet<string>, known: readonly string[] | undefined): string[] {
  if (known === undefined) return [];
  const consequence =
    kind === "write"
      ? "until that is put right, every tool that is not known as a read counts as a write"
      : "it is ignored";
  return [...names]
    .filter((name) => !known.includes(name))
    .map(
      (name) =>
        `the tools were guarded with the ${kind} ${JSON.stringify(name)}, which is none of them (${known.join(", ")}): ${consequence}`,
    );
}

function contradiction(names: readonly string[]): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: `These tools are named as writes and as reads: ${names.join(", ")}.`,
    hint: "Name each tool once.",
  });
}
