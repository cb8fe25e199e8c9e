/** `flagback diff`: what `apply` would change. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { planText } from "../plan-text.ts";
import { addRemoteOptions, invoke, type RemoteOptions, readInput } from "../remote-command.ts";

export function addDiff(program: Command, io: Io): void {
  const command = program
    .command("diff")
    .summary("show what apply would change, and change nothing")
    .requiredOption("-f, --file <path>", "configuration in YAML or JSON; - reads standard input");
  addRemoteOptions(command).action(async (options: RemoteOptions & { file: string }) => {
    const { api, answer, paint } = invoke(io, options);
    const planned = await api.apply(await readInput(io, options.file), true);
    answer(planned, () => planText(planned.plan, paint));
  });
}
