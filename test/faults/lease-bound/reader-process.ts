/**
 * A runtime in a process of its own, which can be stopped, and which can block its event loop. It reads whether it may write
 * as fast as it can and keeps what it was answered as stretches of equal answers.
 */
import { FlagbackProvider } from "@flagback/provider";
import { machineMs } from "./machine-clock.ts";

/**
 * What the parent asks for: reads without a turn of the event loop, so that no message can come between them; and at last
 * one read more and everything that was answered.
 */
export type ReaderCommand = { readonly kind: "block"; readonly forMs: number } | { readonly kind: "finish" };

/** Reads in a row with the same answer under the same revision, without a pause between them. */
export interface Stretch {
  readonly allowed: boolean;
  readonly revision: number | null;
  readonly firstStartedMs: number;
  lastStartedMs: number;
}

export type ReaderReport =
  | { readonly kind: "ready" }
  /** The first read was answered, and nothing more is said before the block is over. */
  | { readonly kind: "blocked" }
  | { readonly kind: "read"; readonly stretches: readonly Stretch[] };

/** A pause between two reads that is a stop of the process, and not the machine being busy. */
const PAUSE_MS = 500;

const provider = new FlagbackProvider({
  url: process.env.READER_URL ?? "",
  token: process.env.READER_TOKEN ?? "",
  writeSwitch: process.env.READER_SWITCH,
});
const stretches: Stretch[] = [];

process.on("message", (command: ReaderCommand) => {
  read();
  switch (command.kind) {
    case "block":
      say({ kind: "blocked" }, () => readFor(command.forMs));
      return;
    case "finish":
      say({ kind: "read", stretches }, () => process.exit(0));
  }
});
// Nobody is left to read for.
process.on("disconnect", () => process.exit(1));
await provider.initialize();
say({ kind: "ready" });

function readFor(ms: number): void {
  const untilMs = machineMs() + ms;
  while (machineMs() < untilMs) read();
}

function read(): void {
  const startedMs = machineMs();
  const allowed = provider.writesAllowed();
  // A stop fell into this read: it started before and was answered after, so it belongs to neither side.
  if (machineMs() - startedMs >= PAUSE_MS) return;
  const { revision } = provider;
  const last = stretches.at(-1);
  if (last?.allowed === allowed && last.revision === revision && startedMs - last.lastStartedMs < PAUSE_MS) {
    last.lastStartedMs = startedMs;
  } else stretches.push({ allowed, revision, firstStartedMs: startedMs, lastStartedMs: startedMs });
}

function say(report: ReaderReport, said: () => void = () => undefined): void {
  process.send?.(report, undefined, {}, said);
}
