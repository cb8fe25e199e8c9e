/** `flagback apply`: makes the server's documents say what a file says, after showing what that changes. */
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { isChange, planText } from "../plan-text.ts";
import { addRemoteOptions, invoke, type RemoteOptions, readInput } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { painter } from "../text.ts";

export function addApply(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("apply")
    .summary("apply a configuration file, after showing its plan")
    .description("Shows what the file would change, asks, and applies it in one transaction.")
    .requiredOption("-f, --file <path>", "configuration in YAML or JSON; - reads standard input")
    .option("-y, --yes", "apply without asking");
  addRemoteOptions(command).action(async (options: RemoteOptions & { file: string; yes?: boolean }) => {
    const { api, answer, paint, asJson } = invoke(io, options);
    const text = await readInput(io, options.file);
    const planned = await api.apply(text, true);
    if (!planned.plan.some(isChange)) {
      answer(planned, () => "Nothing to change: the server says what the file says.");
      return;
    }
    if (!asJson) io.stdout.write(`${planText(planned.plan, paint)}\n`);
    if (!options.yes) {
      if (!io.isInteractive || options.file === "-") throw notAsked();
      if (asJson) io.stderr.write(`${planText(planned.plan, painter(io.stderr, io.env))}\n`);
      const reply = await io.ask("Apply this? [y/N] ");
      if (!/^y(es)?$/i.test(reply.trim())) {
        io.stderr.write("Nothing was applied.\n");
        setStatus(EXIT.refused);
        return;
      }
    }
    const applied = await api.apply(text, false);
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
