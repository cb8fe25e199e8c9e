/** `flagback diff`: how the server has drifted from files. Exit status 0: not at all; 1: it has; 2: that can't be told. */
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import { addConfigOptions, type ConfigOptions, readConfigFiles } from "../config-files.ts";
import type { Io } from "../io.ts";
import { isChange, planText, unnamedText } from "../plan-text.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { EXIT, reportError } from "../report-error.ts";

export function addDiff(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("diff")
    .summary("show how the server differs from files, and change nothing")
    .description(
      "Shows what apply would change, and what the server has beyond the files. Exit status: 0 no difference, 1 a difference," +
        " 2 the files can't be compared, 3 unreachable.",
    );
  addRemoteOptions(addConfigOptions(command)).action(async (options: RemoteOptions & ConfigOptions) => {
    const { api, answer, paint, asJson } = invoke(io, options);
    try {
      const files = await readConfigFiles(io, options.file);
      const planned = await api.apply({ files }, { dryRun: true, prefix: options.prefix });
      const steps = planned.plan.filter(isChange);
      const rest = planned.unnamed ?? [];
      const isDrifted = steps.length + rest.length > 0;
      if (isDrifted) setStatus(EXIT.refused);
      answer({ isDrifted, ...planned }, () =>
        isDrifted
          ? [
              ...(steps.length > 0 ? [planText(steps, paint)] : []),
              ...(rest.length > 0 ? [unnamedText(rest, "on the server, and not in the files", paint)] : []),
            ].join("\n")
          : "No difference: the server has what the files say.",
      );
    } catch (error) {
      if (!(error instanceof FlagbackError) || error.code === "unreachable") throw error;
      reportError(error, io, asJson);
      setStatus(EXIT.badUse);
    }
  });
}
