/**
 * A WebSocket text frame made once and written to many sockets (RFC 6455, section 5.2: final, unmasked, as a server sends).
 * `ws` makes one for each socket and writes it in two pieces; `npm run bench -- push` shows what that costs.
 */

const FINAL_TEXT = 0x81;
/** Lengths up to here stand in the second byte. */
const SHORT_LENGTH = 125;
const LENGTH_IN_16_BITS = 126;
const LENGTH_IN_64_BITS = 127;

/** A ping without a payload (section 5.5.2): the heartbeat of every socket. */
export const PING_FRAME = Buffer.from([0x89, 0]);

/** The whole frame: header and text in UTF-8. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const header = length <= SHORT_LENGTH ? 2 : length <= 0xffff ? 4 : 10;
  const frame = Buffer.allocUnsafe(header + length);
  frame[0] = FINAL_TEXT;
  if (header === 2) frame[1] = length;
  else if (header === 4) {
    frame[1] = LENGTH_IN_16_BITS;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = LENGTH_IN_64_BITS;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, header);
  return frame;
}

/** The text of such a frame in UTF-8, without a copy. */
export function textOf(frame: Buffer): Buffer {
  const length = frame[1];
  return frame.subarray(length === LENGTH_IN_64_BITS ? 10 : length === LENGTH_IN_16_BITS ? 4 : 2);
}
