/** `flagback backup`: a copy of a running server's database. */
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import { writeBackup } from "../../store/backup-file.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { bytes } from "../text.ts";

interface BackupOptions extends RemoteOptions {
  readonly force?: boolean;
}

export function addBackup(program: Command, io: Io): void {
  const command = program
    .command("backup")
    .summary("save a copy of the server's database, while it runs")
    .description(
      "Saves a copy of the server's whole database in one gzip file, while it runs. The file is there when it is whole, " +
        "and not before. It holds everything but the tokens' secrets, so keep it as safe as the server. Needs an admin's token.",
    )
    .argument("<file>", "such as flagback-2026-01-31.gz")
    .option("--force", "replace the file where there is one");
  addRemoteOptions(command).action(async (file: string, options: BackupOptions) => {
    if (!options.force && (await isThere(file))) {
      throw new FlagbackError({
        code: "usage",
        message: `${file} is there already.`,
        hint: "Choose another name, or replace it with --force.",
      });
    }
    const { api, answer } = invoke(io, options);
    const { body, revision } = await api.backup();
    const size = await writeBackup(body, resolve(file));
    answer(
      { file, revision, ...size },
      () => `Saved revision ${revision} in ${file}: ${bytes(size.bytes)}, ${bytes(size.unpackedBytes)} unpacked.`,
    );
  });
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
