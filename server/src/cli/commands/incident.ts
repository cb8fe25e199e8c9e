/** `flagback incident`: what people do about one rollback: look, note what they find, release what it engaged. */
import { FlagbackError } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import {
  addReasonOption,
  addRemoteOptions,
  invoke,
  type ReasonOptions,
  type RemoteOptions,
} from "../remote-command.ts";

interface NoteOptions extends RemoteOptions {
  readonly text?: string;
  readonly rootCause?: string;
}

export function addIncident(program: Command, io: Io): void {
  const incident = program.command("incident").summary("note what went wrong, and release what a rollback engaged");

  const note = incident
    .command("note")
    .summary("add a note, or the root cause, without which the version stays locked")
    .argument("<id>")
    .option("--text <text>", "the note")
    .option("--root-cause <text>", "what went wrong");
  addRemoteOptions(note).action(async (id: string, options: NoteOptions) => {
    const { api, answerChange } = invoke(io, options);
    const text = options.rootCause ?? options.text;
    if (text === undefined || (options.rootCause !== undefined && options.text !== undefined)) {
      throw new FlagbackError({
        code: "usage",
        message: "A note is either --text or --root-cause.",
        hint: 'Such as flagback incident note ID --text "paged the vendor".',
      });
    }
    answerChange(await api.noteIncident(id, { text, isRootCause: options.rootCause !== undefined }));
  });

  const release = incident
    .command("release")
    .summary("release what the incident engaged, without a proof of recovery; what others hold stays engaged")
    .argument("<id>");
  addReasonOption(addRemoteOptions(release)).action(async (id: string, options: ReasonOptions) => {
    const { api, answerChange } = invoke(io, options);
    answerChange(await api.releaseIncident(id, options.reason));
  });
}
