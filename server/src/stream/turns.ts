/**
 * Lets no socket keep the others waiting: Node reads up to 32 chunks of one socket in a row, and what is in them decides how
 * long that takes.
 */
import type { Duplex } from "node:stream";

/** A socket that was busy for longer reads on when everybody else had a turn. */
const TURN_MS = 5;
/** Shorter chunks of plain TCP say that nothing more is waiting. Those of TLS say nothing: they are as long as the sender's records. */
const LONG_CHUNK_BYTES = 16 * 1024;

/** A chunk that has come is read to its end; what comes after it waits where the turn is over. */
export function takeTurns(wire: Duplex, monotonicMs: () => number): void {
  const longBytes = "encrypted" in wire ? 0 : LONG_CHUNK_BYTES;
  /** When the first long chunk of this turn of the event loop had been read. */
  let beganMs: number | undefined;
  let isPaused = false;
  const end = () => {
    beganMs = undefined;
    if (isPaused) wire.resume();
    isPaused = false;
  };
  wire.on("data", (chunk: Buffer) => {
    if (chunk.length < longBytes) return;
    if (beganMs === undefined) {
      beganMs = monotonicMs();
      setImmediate(end);
    } else if (monotonicMs() - beganMs > TURN_MS) {
      isPaused = true;
      wire.pause();
    }
  });
}
