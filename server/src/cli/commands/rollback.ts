/** `flagback rollback`: takes a candidate's traffic away by hand, or those of several aliases at once. */
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addReasonOption, addRemoteOptions, addWaitOption, invoke, type ReasonOptions } from "../remote-command.ts";

interface RollbackOptions extends ReasonOptions {
  readonly release?: string;
}

export function addRollback(program: Command, io: Io): void {
  const command = program
    .command("rollback")
    .summary("roll an alias back to its stable version, or several that shipped together")
    .description(
      "Puts the candidate's weight to 0, locks it and engages the policy's kill switches, in one transaction. " +
        "Repeating it changes nothing. Several aliases, or all of a release, go back together or not at all; that takes a lead.",
    )
    .argument("[aliases...]", "one alias, or several that go back together")
    .option("--release <name>", "roll back every alias on which a version of this release is rolled out");
  addReasonOption(addWaitOption(addRemoteOptions(command))).action(
    async (aliases: readonly string[], options: RollbackOptions) => {
      const { api, answerChange } = invoke(io, options);
      const { release, reason } = options;
      const [alias, ...more] = aliases;
      if ((alias === undefined) === (release === undefined)) {
        throw new FlagbackError({
          code: "usage",
          message: "Name aliases or a release, and not both.",
          hint: 'flagback rollback ALIAS --reason "..." or flagback rollback --release NAME --reason "..."',
        });
      }
      const isAlone = alias !== undefined && more.length === 0;
      const named = release === undefined ? { aliases: [...aliases] } : { release };
      answerChange(await (isAlone ? api.rollback(alias, reason) : api.rollbackTogether({ ...named, reason })));
    },
  );
}
