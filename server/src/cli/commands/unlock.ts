/** `flagback unlock`: lets a rolled-back version have weight again. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addReasonOption, addRemoteOptions, invoke, type ReasonOptions } from "../remote-command.ts";

const DIGEST = /^[0-9a-f]{64}$/;

export function addUnlock(program: Command, io: Io): void {
  const command = program
    .command("unlock")
    .summary("let a rolled-back version have weight again")
    .argument("<alias>")
    .argument("<version>", "id of the version, or its digest")
    .option("--root-cause <text>", "what went wrong; needed where the incident does not say it yet");
  addReasonOption(addRemoteOptions(command)).action(
    async (alias: string, version: string, options: ReasonOptions & { rootCause?: string }) => {
      const { api, answerChange } = invoke(io, options);
      const { reason, rootCause } = options;
      const what = DIGEST.test(version) ? { digest: version } : { version };
      answerChange(await api.unlock(alias, { ...what, reason, ...(rootCause === undefined ? {} : { rootCause }) }));
    },
  );
}
