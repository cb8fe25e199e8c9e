/** How long the main thread was ready to run and others had the processor. */
import { closeSync, openSync, readSync } from "node:fs";

const BUFFER = Buffer.alloc(128);
let file: number | null | undefined;

/** In milliseconds since the process began; 0 where the kernel does not say (Linux does, in `schedstat`). */
export function runQueueMs(): number {
  file ??= open();
  if (file === null) return 0;
  const length = readSync(file, BUFFER, 0, BUFFER.length, 0);
  return Number(BUFFER.toString("latin1", 0, length).split(" ")[1]) / 1e6;
}

function open(): number | null {
  try {
    const opened = openSync("/proc/self/schedstat", "r");
    process.once("exit", () => closeSync(opened));
    return opened;
  } catch {
    return null;
  }
}
