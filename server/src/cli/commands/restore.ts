/** `flagback restore`: a data folder from a backup. It works on files, and asks no server. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { moment } from "../text.ts";

interface LocalOptions {
  readonly dataDir: string;
  readonly force?: boolean;
  readonly stop?: boolean;
  readonly json?: boolean;
}

export function addRestore(program: Command, io: Io): void {
  program
    .command("restore")
    .summary("make a data folder of a backup")
    .description(
      "Makes a data folder of a backup, while no server runs on it. What came after the backup is gone: changes, outcomes, " +
        "and kill switches that were engaged. With --stop every kill switch is engaged until you have looked.",
    )
    .argument("<file>", "what flagback backup saved")
    .option("--data-dir <path>", "where the database shall live", ".flagback")
    .option("--force", "also where the folder is not empty; a database that is there is moved aside")
    .option("--stop", "engage every kill switch at * in the restored state")
    .option("--json", "answer one JSON value on standard output, and errors as JSON on standard error")
    .action(async (file: string, options: LocalOptions) => {
      const { dataDir, force = false, stop = false } = options;
      const { restoreBackup } = await import("../../restore.ts");
      const restored = await restoreBackup({ file, dataDir, force, stop, nowMs: Date.now() });
      if (options.json) return void io.stdout.write(`${JSON.stringify({ file, dataDir, ...restored })}\n`);
      const { revision, newestChangeAt, movedTo } = restored;
      const upTo = newestChangeAt === null ? "" : `, with what was done until ${moment(newestChangeAt)} UTC`;
      io.stdout.write(`Restored revision ${revision} to ${dataDir}${upTo}.\n`);
      if (movedTo !== null) io.stdout.write(`The database that was there is in ${movedTo}.\n`);
      io.stdout.write(
        stop
          ? "Every kill switch is engaged. Release them when you have looked: flagback kill release KEY --reason TEXT\n"
          : "Kill switches and locks are as they were then. Look before you start the server, or restore with --stop.\n",
      );
    });
}
