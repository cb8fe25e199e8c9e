/**
 * Lets no socket keep the others waiting: Node reads up to 32 chunks of one socket in a row, and what is in them decides how
 * long that takes.
 */
import type { Duplex } from "node:stream";

/** A socket that was busy for longer reads on when everybody else had a turn. */
const TURN_MS = 5;
/** Shorter chunks say that nothing more is waiting. A record of TLS has so many bytes at most. */
const LONG_CHUNK_BYTES = 16 * 1024;

export function takeTurns(wire: Duplex, monotonicMs: () => number): void {
  /** When this turn of the event loop brought the first long chunk. */
  let beganMs: number | undefined;
  let isPaused = false;
  const end = () => {
    beganMs = undefined;
    if (isPaused) wire.resume();
    isPaused = false;
  };
  wire.on("data", (chunk: Buffer) => {
    if (chunk.length < LONG_CHUNK_BYTES) return;
    if (beganMs === undefined) {
      beganMs = monotonicMs();
      setImmediate(end);
    } else if (monotonicMs() - beganMs > TURN_MS) {
      isPaused = true;
      wire.pause();
    }
  });
}
