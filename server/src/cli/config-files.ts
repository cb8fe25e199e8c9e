/**
 * The files of a configuration that `-f` names: files, folders of them, and standard input.
 */
import { relative } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import type { ConfigText } from "../config/source.ts";
import type { Io } from "./io.ts";
import { collect, readInput } from "./remote-command.ts";

const ENDINGS = /\.(ya?ml|json)$/i;

export interface ConfigOptions {
  readonly file: readonly string[];
  readonly prefix?: readonly string[];
}

export function addConfigOptions(command: Command): Command {
  return command
    .requiredOption(
      "-f, --file <path>",
      "configuration in YAML or JSON, or a folder of it; - reads standard input; repeat for several",
      collect,
    )
    .option("--prefix <text>", "the files answer only for names that begin with it; repeat for several", collect);
}

/** In the order given; a folder's files by name, with those of its folders, and without what begins with a dot. */
export async function readConfigFiles(io: Io, paths: readonly string[]): Promise<Required<ConfigText>[]> {
  const files: string[] = [];
  for (const path of paths) {
    const inside = path === "-" ? undefined : await io.filesIn(path);
    const found = inside?.filter((file) => ENDINGS.test(file) && !isHidden(path, file)).sort();
    if (found?.length === 0) {
      throw new FlagbackError({
        code: "usage",
        message: `${path} has no configuration in it.`,
        hint: "Files that end in .yaml, .yml or .json are read, also those in folders inside of it.",
      });
    }
    files.push(...(found ?? [path]));
  }
  return Promise.all(
    [...new Set(files)].map(async (path) => ({
      name: path === "-" ? "standard input" : path,
      text: await readInput(io, path),
    })),
  );
}

function isHidden(folder: string, file: string): boolean {
  return relative(folder, file)
    .split(/[\\/]/)
    .some((part) => part.startsWith("."));
}
