/**
 * Places where a test can end or break a server: around each transaction, and before what was written is answered. There is
 * nothing at them unless `FLAGBACK_FAILPOINT` names one:
 *
 *     kill POINT [N]        ends the process, as `kill -9` does, when the point is reached for the Nth time (default 1)
 *     io-error POINT FILE   the database fails there with an I/O error for as long as FILE exists
 *     disk-full POINT FILE  the same, as on a full disk
 *
 * POINT is one of {@link FAILPOINTS}; `*.MOMENT` is that moment of every write.
 */
import { existsSync } from "node:fs";
import { FlagbackError } from "@flagback/schemas";
import Database from "better-sqlite3";

/** Every kind of transaction that a store makes. */
export const WRITES = [
  "change",
  "ledger",
  "fold",
  "audit",
  "propagation",
  "request",
  "token",
  "webhook",
  "drill",
  "alert",
  "feedback",
  "retention",
  "probe",
] as const;
export type Write = (typeof WRITES)[number];

const MOMENTS = ["before-begin", "after-begin", "before-commit", "after-commit"] as const;

/** What comes after the commit: memory says the same as the disk, and nobody was told yet. */
const LATER = ["change.in-memory", "ledger.in-memory", "answer.before-send"] as const;

export type Failpoint = `${Write}.${(typeof MOMENTS)[number]}` | (typeof LATER)[number];

/** Where a process can be ended, in the order in which a change and its counts pass them. */
export const FAILPOINTS: readonly Failpoint[] = [
  ...WRITES.flatMap((write) => MOMENTS.map((moment): Failpoint => `${write}.${moment}`)),
  ...LATER,
];

/** Told that a point is reached. Does not return where the process ends there, and throws where the disk fails there. */
export type Reach = (point: Failpoint) => void;

const IO_FAILURES: Readonly<Record<string, readonly [message: string, code: string]>> = {
  "io-error": ["disk I/O error", "SQLITE_IOERR_WRITE"],
  "disk-full": ["database or disk is full", "SQLITE_FULL"],
};

/** What `FLAGBACK_FAILPOINT` asks for; `undefined` where it is not set. @throws FlagbackError `usage` */
export function failpointOf(env: Readonly<Record<string, string | undefined>>): Reach | undefined {
  const text = env.FLAGBACK_FAILPOINT;
  if (!text) return undefined;
  const [action = "", name = "", argument] = text.split(" ");
  const isNamed = nameMatcher(name);
  const failure = IO_FAILURES[action];
  if (isNamed && failure && argument) {
    return (point) => {
      if (isNamed(point) && existsSync(argument)) throw new Database.SqliteError(...failure);
    };
  }
  let reachesLeft = Number(argument ?? 1);
  if (isNamed && action === "kill" && Number.isInteger(reachesLeft) && reachesLeft > 0) {
    return (point) => {
      if (!isNamed(point)) return;
      reachesLeft -= 1;
      if (reachesLeft === 0) process.kill(process.pid, "SIGKILL");
    };
  }
  throw new FlagbackError({
    code: "usage",
    message: `FLAGBACK_FAILPOINT is "${text}", which names no failpoint.`,
    hint: `Unset it, or write "kill POINT [N]", "io-error POINT FILE" or "disk-full POINT FILE". Points: ${FAILPOINTS.join(", ")}.`,
  });
}

function nameMatcher(name: string): ((point: Failpoint) => boolean) | undefined {
  const suffix = name.startsWith("*.") ? name.slice(1) : undefined;
  const matches = suffix ? (point: Failpoint) => point.endsWith(suffix) : (point: Failpoint) => point === name;
  return FAILPOINTS.some(matches) ? matches : undefined;
}
