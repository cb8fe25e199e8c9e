/**
 * MurmurHash3 x86 32 bit (Austin Appleby, public domain), seed 0, over UTF-8: the hash of flagd's fractional operation.
 */

const encoder = new TextEncoder();
const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** Hash of the text's UTF-8 bytes as uint32. */
export function murmur3(text: string): number {
  return hashAscii(text) ?? hashBytes(encoder.encode(text));
}

/** ASCII is its own UTF-8, so nothing is encoded and nothing allocated. Null for a text that holds anything else. */
function hashAscii(text: string): number | null {
  const length = text.length;
  const blocksEnd = length & ~3;
  let hash = 0;
  for (let i = 0; i < blocksEnd; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    if ((a | b | c | d) > 127) return null;
    hash = mixBlock(hash, a | (b << 8) | (c << 16) | (d << 24));
  }
  let tail = 0;
  for (let i = length - 1; i >= blocksEnd; i--) {
    const code = text.charCodeAt(i);
    if (code > 127) return null;
    tail = (tail << 8) | code;
  }
  return finish(hash, tail, length);
}

/** The hash of any bytes. Exported so that a test can hold the way of ASCII against it. */
export function hashBytes(bytes: Uint8Array): number {
  const length = bytes.length;
  const blocksEnd = length & ~3;
  let hash = 0;
  for (let i = 0; i < blocksEnd; i += 4) {
    const block =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24);
    hash = mixBlock(hash, block);
  }
  let tail = 0;
  for (let i = length - 1; i >= blocksEnd; i--) tail = (tail << 8) | (bytes[i] as number);
  return finish(hash, tail, length);
}

function mixBlock(hash: number, block: number): number {
  return (Math.imul(rotateLeft(hash ^ scramble(block), 13), 5) + 0xe6546b64) | 0;
}

/** An empty tail is 0, which scrambles to 0 and changes nothing. */
function finish(mixed: number, tail: number, length: number): number {
  let hash = mixed ^ scramble(tail) ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(block: number): number {
  return Math.imul(rotateLeft(Math.imul(block, C1), 15), C2);
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
