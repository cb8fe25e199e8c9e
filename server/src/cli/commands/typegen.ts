/** `flagback typegen`: a declaration file, so that a mistyped key of an alias, kill switch or flag does not compile. */
import { DEFAULT_KILL_SWITCH, FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import { declarationFile } from "../../typegen/declaration-file.ts";
import { FLAG_TYPES, type TypedKeys, typedKeys } from "../../typegen/typed-keys.ts";
import type { Api } from "../api-client.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions, readInput } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { count } from "../text.ts";

const DEFAULT_FILE = "flagback.d.ts";

interface TypegenOptions extends RemoteOptions {
  readonly out: string;
  readonly from?: string;
  readonly check?: boolean;
  readonly openfeature: boolean;
}

export function addTypegen(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("typegen")
    .summary("write a .d.ts file that types your alias, kill switch and flag keys")
    .description(
      "Reads the keys of all aliases, kill switches and flags (a viewer token is enough) and writes a declaration file that " +
        "types them in the OpenFeature client and in the agent toolkit. OpenFeature's part needs the compiler option " +
        "skipLibCheck, which tsc --init sets.",
    )
    .option("-o, --out <file>", "declaration file to write", DEFAULT_FILE)
    .option("--from <file>", "read the keys from a configuration file instead of a server; - reads standard input")
    .option("--check", "write nothing, and exit with 1 when the file is out of date (for CI)")
    .option("--no-openfeature", "leave the OpenFeature client's keys alone: other providers have keys too");
  addRemoteOptions(command).action(async (options: TypegenOptions) => {
    const file = options.out;
    if (!/\.d\.[cm]?ts$/.test(file)) throw noDeclarationFile(file);
    const { api, answer } = invoke(io, options);
    const keys = options.from === undefined ? await serversKeys(api) : await filesKeys(io, options.from);
    const text = declarationFile(keys, { openFeature: options.openfeature });
    const before = await io.read(file).catch(() => undefined);
    if (before !== undefined && sameLines(before, text)) {
      return answer({ file, state: "unchanged", keys }, () => `${file} is up to date: ${inWords(keys)}.`);
    }
    if (options.check) {
      setStatus(EXIT.refused);
      return answer(
        { file, state: "outdated", keys },
        () => `${file} is ${before === undefined ? "not there" : "out of date"}; flagback typegen writes it.`,
      );
    }
    await write(io, file, text);
    answer({ file, state: "written", keys }, () => `Wrote ${file}: ${inWords(keys)}.`);
  });
}

async function serversKeys(api: Api): Promise<TypedKeys> {
  const [aliases, killSwitches, flags] = await Promise.all([api.aliases(), api.killSwitches(), api.flags()]);
  return typedKeys({
    aliases: aliases.map(({ name }) => name),
    killSwitches: killSwitches.map(({ key }) => key),
    flags: flags.map(({ key, definition }) => [key, definition]),
  });
}

/** What a fresh server has after it applied the file. */
async function filesKeys(io: Io, path: string): Promise<TypedKeys> {
  const { parseConfig } = await import("../../config/parse-config.ts");
  const { aliases, killSwitches, flags } = parseConfig(await readInput(io, path));
  return typedKeys({
    aliases: aliases.map(({ name }) => name),
    killSwitches: [DEFAULT_KILL_SWITCH, ...killSwitches.keys()],
    flags,
  });
}

async function write(io: Io, file: string, text: string): Promise<void> {
  try {
    await io.write(file, text);
  } catch (cause) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `${file} can't be written: ${(cause as Error).message}.`,
        hint: "Check the folder, or choose another file with --out.",
      },
      { cause },
    );
  }
}

/** A checkout may have turned the line ends. */
function sameLines(a: string, b: string): boolean {
  return a.replaceAll("\r\n", "\n") === b;
}

/** `2 aliases, 1 kill switch, 3 flags`. */
function inWords({ aliases, killSwitches, flags }: TypedKeys): string {
  const others = new Set(FLAG_TYPES.flatMap((type) => flags[type]));
  return [
    count(aliases.length, "alias", "aliases"),
    count(killSwitches.length, "kill switch", "kill switches"),
    count(others.size, "flag", "flags"),
  ].join(", ");
}

/** Anywhere else TypeScript reports OpenFeature's own way of typing keys as duplicates. */
function noDeclarationFile(file: string): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: `${file} is no declaration file.`,
    hint: `Give --out a name that ends with .d.ts, such as ${DEFAULT_FILE}.`,
  });
}
