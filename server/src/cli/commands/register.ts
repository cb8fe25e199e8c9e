/** `flagback register`: puts a version into the registry. */
import { FlagbackError, type Json, type Version, VersionKind } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions, readInput } from "../remote-command.ts";

interface RegisterOptions extends RemoteOptions {
  readonly payload?: string;
  readonly kind: Version["kind"];
  readonly label?: string[];
  readonly notes?: string;
  readonly alias?: string;
}

export function addRegister(program: Command, io: Io): void {
  const command = program
    .command("register")
    .summary("register an immutable version")
    .description(
      "Registers a version. The same id with the same payload again is fine; with another payload it is refused.",
    )
    .argument("<id>", "such as support-agent@2.4.0")
    .option("--payload <json|file>", "JSON itself, or a JSON or YAML file")
    .addOption(new Option("--kind <kind>", "what it is a version of").choices(VersionKind.options).default("agent"))
    .option("--label <key=value>", "repeat for several", collect)
    .option("--notes <text>", "for people")
    .option("--alias <name>", "where the id does not begin with it");
  addRemoteOptions(command).action(async (id: string, options: RegisterOptions) => {
    const { api, answer } = invoke(io, options);
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
