/** `flagback doctor`: whether a rollback would work, before it has to. */
import type { DoctorAnswer } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { count, type Paint } from "../text.ts";

const COLOUR = { ok: "green", warn: "yellow", fail: "red" } as const;

export function addDoctor(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("doctor")
    .summary("check whether a rollback of an alias would work")
    .description(
      "Checks all that a rollback of the alias needs, and says what to do where something is missing. Injects nothing and changes nothing; flagback drill rehearses. Exit status 1 where a check fails.",
    )
    .argument("<alias>");
  addRemoteOptions(command).action(async (alias: string, options: RemoteOptions) => {
    const { api, answer, paint } = invoke(io, options);
    const found = await api.doctor(alias);
    answer(found, () => doctorText(found, paint));
    if (found.status === "fail") setStatus(EXIT.refused);
  });
}

function doctorText({ alias, target, candidate, checks }: DoctorAnswer, paint: Paint): string {
  const number = (status: DoctorAnswer["status"]) => checks.filter((check) => check.status === status).length;
  const of = candidate === null ? alias : `${candidate} on ${alias}`;
  return [
    `A rollback of ${of} returns to ${target ?? "nothing"}.`,
    "",
    ...checks.flatMap(({ check, status, why, whatToDo }) => [
      `${paint(COLOUR[status], status.padEnd(4))}  ${check.replaceAll("_", " ")}: ${why}`,
      ...(whatToDo === undefined ? [] : [paint("dim", `      ${whatToDo}`)]),
    ]),
    "",
    `${count(number("fail"), "check fails", "checks fail")}, ${count(number("warn"), "warning", "warnings")}, ${number("ok")} ok.`,
  ].join("\n");
}
