/** `flagback versions`: what can be done with registered versions. `flagback get versions` lists them. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import {
  addReasonOption,
  addRemoteOptions,
  invoke,
  type ReasonOptions,
  type RemoteOptions,
} from "../remote-command.ts";
import { versionDiffText } from "../version-diff-text.ts";

export function addVersions(program: Command, io: Io): void {
  const versions = program.command("versions").summary("compare versions, and retire those that nobody needs");

  const diff = versions
    .command("diff")
    .summary("show how two versions differ")
    .description("Shows how two versions differ: texts line by line, everything else by its path in the payload.")
    .argument("<from>", "such as support-agent@2.3.3")
    .argument("<to>", "such as support-agent@2.4.0");
  addRemoteOptions(diff).action(async (from: string, to: string, options: RemoteOptions) => {
    const { api, answer, paint } = invoke(io, options);
    const found = await api.versionDiff(from, to);
    answer(found, () => versionDiffText(found, paint));
  });

  const retire = versions
    .command("retire")
    .summary("take a version out of use for ever")
    .description("Retires a version: it can't get traffic again. Refused while a rollback may need it.")
    .argument("<id>", "such as support-agent@2.2.0");
  addReasonOption(addRemoteOptions(retire)).action(async (id: string, options: ReasonOptions) => {
    const { api, answerChange } = invoke(io, options);
    answerChange(await api.retire(id, options.reason));
  });
}
