/** `flagback lock`: keeps a version from having weight, without a rollback. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addReasonOption, addRemoteOptions, addWaitOption, invoke, type ReasonOptions } from "../remote-command.ts";

export function addLock(program: Command, io: Io): void {
  const command = program
    .command("lock")
    .summary("keep a version from having weight, until somebody unlocks it")
    .description("Locks the version's payload under every id. What is being rolled out is rolled back instead.")
    .argument("<alias>")
    .argument("<version>");
  addReasonOption(addWaitOption(addRemoteOptions(command))).action(
    async (alias: string, version: string, options: ReasonOptions) => {
      const { api, answerChange } = invoke(io, options);
      answerChange(await api.lock(alias, { version, reason: options.reason }));
    },
  );
}
