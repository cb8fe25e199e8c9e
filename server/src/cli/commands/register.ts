/** `flagback register`: puts versions into the registry. */
import { FlagbackError, type Json, type Version, VersionKind } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions, readInput } from "../remote-command.ts";
import { registerFrom } from "./register-from.ts";

interface RegisterOptions extends RemoteOptions {
  readonly payload?: string;
  readonly kind: Version["kind"];
  readonly label?: string[];
  readonly notes?: string;
  readonly alias?: string;
  readonly from?: string;
  readonly git?: string;
  readonly dryRun?: boolean;
}

export function addRegister(program: Command, io: Io): void {
  const command = program
    .command("register")
    .summary("register an immutable version")
    .description(
      "Registers a version, or with --from all that a folder describes, or none of them. The same id with the same payload again is fine; with another payload it is refused.",
    )
    .argument("[id]", "such as support-agent@2.4.0")
    .option("--payload <json|file>", "JSON itself, or a JSON or YAML file")
    .addOption(new Option("--kind <kind>", "what it is a version of").choices(VersionKind.options).default("agent"))
    .option("--label <key=value>", "repeat for several", collect)
    .option("--notes <text>", "for people")
    .option("--alias <name>", "where the id does not begin with it")
    .option("--from <folder>", "every version in a folder; git:REF:FOLDER as Git keeps it (see docs/versions.md)")
    .option("--git <ref>", "the folder of --from at this branch, tag or commit")
    .option("--dry-run", "with --from: show what would be registered, and register nothing");
  addRemoteOptions(command).action(async (id: string | undefined, options: RegisterOptions) => {
    const invocation = invoke(io, options);
    const { api, answer } = invocation;
    const { from, git, alias, dryRun = false } = options;
    if (from !== undefined && id === undefined) {
      return await registerFrom(invocation, { from, git, alias, labels: labelsOf(options.label ?? []), dryRun });
    }
    if (id === undefined || from !== undefined || git !== undefined || dryRun) throw oneOrFolder();
    const registered = await api.register({
      id,
      kind: options.kind,
      alias: options.alias,
      notes: options.notes,
      labels: labelsOf(options.label ?? []),
      ...(options.payload !== undefined && { payload: await payloadOf(io, options.payload) }),
    });
    answer(
      registered,
      () => `${registered.change.summary.replace(/\.$/, "")} (digest ${registered.version.digest.slice(0, 12)})`,
    );
  });
}

function oneOrFolder(): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: "Give either the id of one version, or --from with a folder of them.",
    hint: "flagback register support-agent@2.4.0 --payload prompt.json, or flagback register --from prompts --dry-run.",
  });
}

function labelsOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new FlagbackError({
        code: "usage",
        message: `--label ${pair} has no key and value.`,
        hint: "Write --label team=support.",
      });
    }),
  );
}

/** What begins like JSON's structures or strings is JSON; everything else names a file. */
async function payloadOf(io: Io, given: string): Promise<Json> {
  const isInline = /^\s*[{["]/.test(given);
  const text = isInline ? given : await readInput(io, given);
  const { parse } = await import("yaml");
  try {
    return (isInline ? JSON.parse(text) : parse(text)) as Json;
  } catch (cause) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `The payload is no ${isInline ? "JSON" : "JSON or YAML"}: ${(cause as Error).message}`,
        hint: "Quote JSON for the shell as a whole, or put it into a file.",
      },
      { cause },
    );
  }
}
