/**
 * Reads whole text frames straight from what a socket delivers, many in one chunk, without an object for each of their parts
 * (RFC 6455, section 5.2). All else is `ws`'s, which has the last word: it gets every frame that is cut off by the end of a chunk,
 * every ping and pong; and from the first frame on that is none of these, whatever comes (ADR 16).
 */
import type { Duplex } from "node:stream";

/** Payload from `start` to `end` in bytes that are the receiver's until it returns. */
export type TakeText = (bytes: Buffer, start: number, end: number) => void;

const FINAL_TEXT = 0x81;
const FINAL_PING = 0x89;
const FINAL_PONG = 0x8a;
const MASKED = 0x80;
/** Longer ones stand in the bytes that follow: 16 bits after this, or 64 after one more. */
const MAX_SHORT_LENGTH = 125;
const LENGTH_IN_16_BITS = 126;
const LENGTH_IN_64_BITS = 127;
const MASK_LENGTH = 4;

/**
 * Puts itself between the socket and the one who listens to its data, which is `ws` after its handshake; `ws` must refuse
 * payloads of more than `maxLength` bytes by itself. Where nobody or somebody else listens, everything stays as it is.
 */
export function readFrames(wire: Duplex, maxLength: number, take: TakeText): void {
  const [listener, ...others] = wire.listeners("data");
  if (listener === undefined || others.length > 0) return;
  const reader = new FrameReader(wire, maxLength, listener as (chunk: Buffer) => void, take);
  wire.removeListener("data", listener as (chunk: Buffer) => void);
  wire.on("data", reader.onData);
}

class FrameReader {
  readonly #wire: Duplex;
  readonly #maxLength: number;
  readonly #toWs: (chunk: Buffer) => void;
  readonly #take: TakeText;
  /** Bytes of a frame whose beginning `ws` has. */
  #owed = 0;
  /** The beginning of a frame, too short to say how long it is. */
  #head: Buffer | undefined;

  constructor(wire: Duplex, maxLength: number, toWs: (chunk: Buffer) => void, take: TakeText) {
    this.#wire = wire;
    this.#maxLength = maxLength;
    this.#toWs = toWs;
    this.#take = take;
  }

  readonly onData = (chunk: Buffer): void => {
    let bytes = chunk;
    if (this.#head) {
      bytes = Buffer.concat([this.#head, chunk]);
      this.#head = undefined;
    }
    let at = 0;
    if (this.#owed > 0) {
      at = Math.min(this.#owed, bytes.length);
      this.#owed -= at;
      this.#give(bytes.subarray(0, at));
    }
    while (at < bytes.length) {
      const next = this.#frame(bytes, at);
      if (next < 0) return;
      at = next;
    }
  };

  /** Where the frame at `at` ends; -1 where nothing after it is ours to read in this chunk. */
  #frame(bytes: Buffer, at: number): number {
    const kind = bytes[at];
    const isText = kind === FINAL_TEXT;
    if (!isText && kind !== FINAL_PING && kind !== FINAL_PONG) return this.#leave(bytes, at);
    const rest = bytes.length - at;
    if (rest < 2) return this.#keep(bytes, at);
    // Without a mask it is longer than any.
    const short = (bytes[at + 1] as number) ^ MASKED;
    if (short > (isText ? LENGTH_IN_64_BITS : MAX_SHORT_LENGTH)) return this.#leave(bytes, at);
    const lengthEnd = short <= MAX_SHORT_LENGTH ? 2 : short === LENGTH_IN_16_BITS ? 4 : 10;
    if (rest < lengthEnd) return this.#keep(bytes, at);
    const length = lengthEnd === 2 ? short : lengthEnd === 4 ? bytes.readUInt16BE(at + 2) : longLength(bytes, at + 2);
    if (length > this.#maxLength) return this.#leave(bytes, at);
    const head = lengthEnd + MASK_LENGTH;
    if (rest < head + length) {
      this.#owed = head + length - rest;
      this.#give(bytes.subarray(at));
      return -1;
    }
    const start = at + head;
    const end = start + length;
    if (isText) {
      unmask(bytes, start, end);
      this.#take(bytes, start, end);
    } else this.#give(bytes.subarray(at, end));
    return end;
  }

  #keep(bytes: Buffer, at: number): -1 {
    // A copy of its own, so that a few bytes do not hold on to the chunk, or to a page that others share.
    this.#head = Buffer.allocUnsafeSlow(bytes.length - at);
    bytes.copy(this.#head, 0, at);
    return -1;
  }

  #give(bytes: Buffer): void {
    this.#toWs.call(this.#wire, bytes);
  }

  /** From here on `ws` reads by itself, and stops by itself. */
  #leave(bytes: Buffer, at: number): -1 {
    this.#wire.removeListener("data", this.onData);
    this.#wire.on("data", this.#toWs);
    this.#give(bytes.subarray(at));
    return -1;
  }
}

function longLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** Section 5.3, in place; the mask stands before the payload. */
function unmask(bytes: Buffer, start: number, end: number): void {
  const first = bytes[start - 4] as number;
  const second = bytes[start - 3] as number;
  const third = bytes[start - 2] as number;
  const fourth = bytes[start - 1] as number;
  if ((first | second | third | fourth) === 0) return;
  let at = start;
  for (; at + 3 < end; at += 4) {
    bytes[at] = (bytes[at] as number) ^ first;
    bytes[at + 1] = (bytes[at + 1] as number) ^ second;
    bytes[at + 2] = (bytes[at + 2] as number) ^ third;
    bytes[at + 3] = (bytes[at + 3] as number) ^ fourth;
  }
  if (at < end) bytes[at] = (bytes[at] as number) ^ first;
  if (at + 1 < end) bytes[at + 1] = (bytes[at + 1] as number) ^ second;
  if (at + 2 < end) bytes[at + 2] = (bytes[at + 2] as number) ^ third;
}
