/**
 * How a failed command says so: on standard error, what is wrong and what to do about it; and the exit status.
 */
import { FlagbackError, problemOf } from "@flagback/schemas";
import type { Io } from "./io.ts";
import { painter } from "./text.ts";

export const EXIT = { done: 0, refused: 1, badUse: 2, unreachable: 3, timedOut: 4 } as const;

function exitStatus(error: FlagbackError): number {
  if (error.code === "unreachable") return EXIT.unreachable;
  return error.code === "usage" ? EXIT.badUse : EXIT.refused;
}

/** Writes the error and returns the exit status. With `asJson` it is one problem document (RFC 9457) on one line. */
export function reportError(error: unknown, io: Io, asJson: boolean): number {
  const known = error instanceof FlagbackError ? error : unexpected(error);
  if (asJson) {
    io.stderr.write(`${JSON.stringify(problemOf(known))}\n`);
  } else {
    const paint = painter(io.stderr, io.env);
    const problems = (known.problems ?? []).map((problem) => `  - ${problem}\n`).join("");
    io.stderr.write(`${paint("red", "error")} ${known.message} [${known.code}]\n${problems}`);
    io.stderr.write(`${paint("yellow", "hint")}  ${known.hint}\n`);
    io.stderr.write(possibleText(known));
    if (known.code === "internal_error" && io.env.FLAGBACK_DEBUG) io.stderr.write(`${(error as Error).stack}\n`);
  }
  return exitStatus(known);
}

/** What can be done where the rollout stands, and who may. */
function possibleText({ state, possible }: FlagbackError): string {
  if (state === undefined || !possible) return "";
  if (possible.length === 0) return `state ${state}; no command leads on from there\n`;
  const lines = possible.map(({ command, role, how }) => `  - ${command} (${role}): ${how}\n`);
  return `state ${state}; from there:\n${lines.join("")}`;
}

function unexpected(error: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "internal_error",
      message: error instanceof Error ? error.message : String(error),
      hint: "This is a fault of the command line itself; FLAGBACK_DEBUG=1 shows where it happened.",
    },
    { cause: error },
  );
}
