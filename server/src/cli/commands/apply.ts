/** `flagback apply`: makes the server's documents say what files say, after showing what that changes. */
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import { addConfigOptions, type ConfigOptions, readConfigFiles } from "../config-files.ts";
import type { Io } from "../io.ts";
import { isChange, planText, unnamedText } from "../plan-text.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { painter } from "../text.ts";

interface ApplyOptions extends RemoteOptions, ConfigOptions {
  readonly dryRun?: boolean;
  readonly prune?: boolean;
  readonly yes?: boolean;
}

export function addApply(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("apply")
    .summary("apply configuration files, after showing their plan")
    .description("Shows what the files would change, asks, and applies all of it in one transaction, or nothing.")
    .option("--dry-run", "show the plan, and apply nothing")
    .option("--prune", "remove what the files' blocks list no longer; never what somebody still needs")
    .option("-y, --yes", "apply without asking");
  addRemoteOptions(addConfigOptions(command)).action(async (options: ApplyOptions) => {
    const { api, answer, paint, asJson } = invoke(io, options);
    const files = await readConfigFiles(io, options.file);
    const how = { prune: options.prune ?? false, prefix: options.prefix };
    const planned = await api.apply({ files }, { ...how, dryRun: true });
    const left = how.prune ? [] : (planned.unnamed ?? []);
    const rest = left.length > 0 ? `\n${unnamedText(left, "not in the files; --prune would remove them", paint)}` : "";
    if (!planned.plan.some(isChange)) {
      answer(planned, () => `Nothing to change: the server has what the files say.${rest}`);
      return;
    }
    if (options.dryRun) {
      answer(planned, () => planText(planned.plan, paint) + rest);
      return;
    }
    if (!asJson) io.stdout.write(`${planText(planned.plan, paint)}${rest}\n`);
    if (!options.yes) {
      if (!io.isInteractive || options.file.includes("-")) throw notAsked();
      if (asJson) io.stderr.write(`${planText(planned.plan, painter(io.stderr, io.env))}\n`);
      const reply = await io.ask("Apply this? [y/N] ");
      if (!/^y(es)?$/i.test(reply.trim())) {
        io.stderr.write("Nothing was applied.\n");
        setStatus(EXIT.refused);
        return;
      }
    }
    const applied = await api.apply({ files }, { ...how, planDigest: planned.planDigest });
    answer(applied, () => `Applied (revision ${applied.revision}).`);
  });
}

function notAsked(): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: "Nothing is applied, because nobody is at a terminal to confirm the plan.",
    hint: "Add --yes to apply without asking; flagback diff shows the plan alone.",
  });
}
