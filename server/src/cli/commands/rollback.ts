/** `flagback rollback`: takes a candidate's traffic away by hand. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addReasonOption, addRemoteOptions, addWaitOption, invoke, type ReasonOptions } from "../remote-command.ts";

export function addRollback(program: Command, io: Io): void {
  const command = program
    .command("rollback")
    .summary("roll an alias back to its stable version")
    .description(
      "Puts the candidate's weight to 0, locks it and engages the policy's kill switches, in one transaction. " +
        "Repeating it changes nothing.",
    )
    .argument("<alias>");
  addReasonOption(addWaitOption(addRemoteOptions(command))).action(async (alias: string, options: ReasonOptions) => {
    const { api, answerChange } = invoke(io, options);
    answerChange(await api.rollback(alias, options.reason));
  });
}
