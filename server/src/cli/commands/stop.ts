/** `flagback stop`: the big red button. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addReasonOption, addRemoteOptions, addWaitOption, invoke, type ReasonOptions } from "../remote-command.ts";

export function addStop(program: Command, io: Io): void {
  const command = program
    .command("stop")
    .summary("engage every kill switch, everywhere")
    .description("Engages every kill switch at the scope *. Versions keep their weights.");
  addReasonOption(addWaitOption(addRemoteOptions(command))).action(async (options: ReasonOptions) => {
    const { api, answerChange } = invoke(io, options);
    answerChange(await api.stop(options.reason));
  });
}
