/** `flagback incident`: what people do about one rollback: report, note what they find, release what it engaged. */
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
  const incident = program
    .command("incident")
    .summary("report on a rollback, note what went wrong, release what it engaged");

  const report = incident
    .command("report")
    .summary("show a post-mortem with the facts filled in, as Markdown, or with --json all that is known")
    .argument("<id>");
  addRemoteOptions(report).action(async (id: string, options: RemoteOptions) => {
    const { api, answer, asJson } = invoke(io, options);
    if (asJson) answer(await api.incident(id), () => "");
    else io.stdout.write(await api.incidentReport(id));
  });

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
