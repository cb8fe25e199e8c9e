/**
 * The command line as a whole: its commands, and the one place where a failure becomes text and an exit status.
 */
import { FlagbackError } from "@flagback/schemas";
import { Command, CommanderError } from "commander";
import { addApply } from "./commands/apply.ts";
import { addAudit } from "./commands/audit.ts";
import { addBacktest } from "./commands/backtest.ts";
import { addBackup } from "./commands/backup.ts";
import { addDecisions } from "./commands/decisions.ts";
import { addDemo } from "./commands/demo.ts";
import { addDiff } from "./commands/diff.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDrill, addDrills } from "./commands/drill.ts";
import { addExport } from "./commands/export.ts";
import { addGet } from "./commands/get.ts";
import { addIncident } from "./commands/incident.ts";
import { addIncidents } from "./commands/incidents.ts";
import { addKill } from "./commands/kill.ts";
import { addLock } from "./commands/lock.ts";
import { addRegister } from "./commands/register.ts";
import { addRestore } from "./commands/restore.ts";
import { addRollback } from "./commands/rollback.ts";
import { addRollout } from "./commands/rollout.ts";
import { addRuntimes } from "./commands/runtimes.ts";
import { addServe } from "./commands/serve.ts";
import { addStop } from "./commands/stop.ts";
import { addToken } from "./commands/token.ts";
import { addTrigger } from "./commands/trigger.ts";
import { addTypegen } from "./commands/typegen.ts";
import { addUnlock } from "./commands/unlock.ts";
import { addVersions } from "./commands/versions.ts";
import { addWatch } from "./commands/watch.ts";
import { addWebhook } from "./commands/webhook.ts";
import type { Io } from "./io.ts";
import { EXIT, reportError } from "./report-error.ts";

/** Runs one command and returns the exit status. `args` are the words after the program's name. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  let status: number = EXIT.done;
  const program = createProgram(io, (failed) => {
    status = failed;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    // A command without its subcommand: commander has shown the help.
    if (error instanceof CommanderError && error.code === "commander.help") return EXIT.badUse;
    return reportError(error instanceof CommanderError ? badUse(error) : error, io, args.includes("--json"));
  }
}

function createProgram(io: Io, setStatus: (status: number) => void): Command {
  const program = new Command("flagback");
  program
    .description("Feature flags, staged rollouts and automatic rollback for AI agents.")
    .exitOverride()
    .configureOutput({ writeOut: io.stdout.write, writeErr: io.stderr.write, outputError: () => {} })
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    .helpCommand("help [command]", "show what a command does")
    .addHelpText(
      "after",
      "\nThe server's address and your token: --url and --token, or FLAGBACK_URL and FLAGBACK_TOKEN." +
        "\nExit status: 0 done, 1 refused, 2 bad use, 3 unreachable, 4 timed out (rollout status --wait).",
    );

  addServe(program, io);
  addDemo(program, io, setStatus);
  addApply(program, io, setStatus);
  addDiff(program, io, setStatus);
  addExport(program, io);
  addGet(program, io);
  addRegister(program, io);
  addVersions(program, io);
  addRollout(program, io, setStatus);
  addRollback(program, io);
  addDecisions(program, io);
  addLock(program, io);
  addUnlock(program, io);
  addStop(program, io);
  addKill(program, io);
  addWatch(program, io);
  addAudit(program, io, setStatus);
  addBacktest(program, io);
  addIncidents(program, io);
  addIncident(program, io);
  addDrill(program, io, setStatus);
  addDrills(program, io);
  addRuntimes(program, io);
  addDoctor(program, io, setStatus);
  addToken(program, io);
  addBackup(program, io);
  addRestore(program, io);
  addTypegen(program, io, setStatus);
  addWebhook(program, io, setStatus);
  addTrigger(program, io);
  return program;
}

/** Commander's own words, with its suggestion as the hint. */
function badUse(error: CommanderError): FlagbackError {
  const [first = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = rest.join(" ").replace(/^\((.*)\)$/, "$1");
  return new FlagbackError({
    code: "usage",
    message: `${first.charAt(0).toUpperCase()}${first.slice(1)}${first.endsWith(".") ? "" : "."}`,
    hint: suggestion || "flagback help COMMAND shows what a command takes.",
  });
}
