/**
 * What every command that talks to a server has in common: its options, its client and its way of answering.
 */
import { type ChangeAnswer, Duration, FlagbackError } from "@flagback/schemas";
import { type Command, InvalidArgumentError } from "commander";
import { type Api, connectApi } from "./api-client.ts";
import type { Io } from "./io.ts";
import { millis, type Paint, painter } from "./text.ts";

const DEFAULT_URL = "http://127.0.0.1:7780";
/** How long `--wait` waits for the runtimes. */
const WAIT_APPLIED_MS = 5_000;

export interface RemoteOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly wait?: boolean;
}

/** One invocation of a command. */
export interface Invocation {
  readonly io: Io;
  readonly api: Api;
  /** Where the server is and who asks, for whoever makes further clients. */
  readonly connection: { readonly url: string; readonly token: string | undefined };
  readonly asJson: boolean;
  readonly paint: Paint;
  /** Answers: the value with `--json`, else the text for people. */
  answer(value: unknown, forPeople: () => string): void;
  /** Answers what became of a change. */
  answerChange(change: ChangeAnswer): void;
}

export function addRemoteOptions(command: Command): Command {
  return command
    .option("--json", "answer one JSON value on standard output, and errors as JSON on standard error")
    .option("--url <url>", `address of the server (FLAGBACK_URL; default ${DEFAULT_URL})`)
    .option("--token <token>", "token to show the server (FLAGBACK_TOKEN)");
}

export function addWaitOption(command: Command): Command {
  return command.option(
    "--wait",
    `wait until the connected runtimes applied it (at most ${WAIT_APPLIED_MS / 1_000} s)`,
  );
}

/** Options of a command with {@link addReasonOption}. */
export interface ReasonOptions extends RemoteOptions {
  readonly reason: string;
}

export function addReasonOption(command: Command): Command {
  return command.requiredOption("--reason <text>", "why; kept in the audit log");
}

export function invoke(io: Io, options: RemoteOptions): Invocation {
  const connection = {
    url: options.url ?? (io.env.FLAGBACK_URL || DEFAULT_URL),
    token: options.token ?? io.env.FLAGBACK_TOKEN,
  };
  const api = connectApi({ ...connection, waitAppliedMs: options.wait ? WAIT_APPLIED_MS : undefined });
  const asJson = options.json ?? false;
  const answer = (value: unknown, forPeople: () => string): void =>
    io.stdout.write(`${asJson ? JSON.stringify(value) : forPeople()}\n`);
  return {
    io,
    api,
    connection,
    asJson,
    paint: painter(io.stdout, io.env),
    answer,
    answerChange: (change) => answer(change, () => changeText(change)),
  };
}

function changeText({ revision, change, propagation }: ChangeAnswer): string {
  const parts = change.coordinated?.aliases.map(({ alias, status, incident }) => {
    return `\n  - ${alias}: ${status.replaceAll("_", " ")}${incident === undefined ? "" : `, incident ${incident}`}`;
  });
  const head = `${change.summary.replace(/\.$/, "")} (revision ${revision}${change.status === "done" ? "" : `, ${change.status}`})${parts?.join("") ?? ""}`;
  if (propagation === undefined) return head;
  const { acknowledged, runtimes, p99Ms } = propagation;
  return `${head}\napplied by ${acknowledged} of ${runtimes} runtimes${p99Ms === null ? "" : `, p99 ${millis(p99Ms)}`}`;
}

/** Parser of an option that is a whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
  };
}

/** Parser of an option that is a length of time, such as `30m`. */
export function duration(text: string): string {
  if (Duration.safeParse(text).success) return text;
  throw new InvalidArgumentError("Give a time such as 500ms, 10s, 30m or 2h.");
}

/** Parser of an option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/**
 * Text of a file that the user named.
 * @throws FlagbackError `usage` when it can't be read
 */
export async function readInput(io: Io, path: string): Promise<string> {
  try {
    return await io.read(path);
  } catch (cause) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `${path} can't be read: ${(cause as Error).message}.`,
        hint: "Check the path; - reads standard input.",
      },
      { cause },
    );
  }
}
