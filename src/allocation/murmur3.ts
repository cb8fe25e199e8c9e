/**
 * MurmurHash3 x86 32 bit (Austin Appleby, public domain), seed 0, over UTF-8: the hash of flagd's fractional operation. A
 * text's beginning can be hashed once and gone on from, as a salt is before each targeting key.
 */

const encoder = new TextEncoder();
const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** How far the hash has come after some bytes. */
interface HashState {
  readonly hash: number;
  /** Bytes that do not fill a block of four yet, lowest first. */
  readonly block: number;
  readonly blockBits: number;
  readonly lengthBytes: number;
}

/** A text's beginning, hashed. */
export interface HashPrefix extends HashState {
  readonly text: string;
}

const NOTHING: HashPrefix = { text: "", hash: 0, block: 0, blockBits: 0, lengthBytes: 0 };

/** Hash of the text's UTF-8 bytes as uint32. */
export function murmur3(text: string): number {
  return murmur3After(NOTHING, text);
}

/** Hash of the prefix's text and this one as one text, without joining them. */
export function murmur3After(prefix: HashPrefix, text: string): number {
  const hash = hashAscii(prefix, text);
  return hash >= 0 ? hash : hashBytes(encoder.encode(prefix.text + text));
}

/** ASCII is its own UTF-8, so nothing is encoded and nothing allocated. -1 for a text that holds anything else. */
function hashAscii(prefix: HashPrefix, text: string): number {
  const length = text.length;
  let { hash, block, blockBits } = prefix;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    if ((a | b | c | d) > 127) return -1;
    const four = a | (b << 8) | (c << 16) | (d << 24);
    hash = mixBlock(hash, block | (four << blockBits));
    // In two steps, because a shift by 32 is none.
    block = (four >>> 1) >>> (31 - blockBits);
  }
  for (; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return -1;
    block |= code << blockBits;
    blockBits = (blockBits + 8) & 31;
    if (blockBits === 0) {
      hash = mixBlock(hash, block);
      block = 0;
    }
  }
  return finish(hash, block, prefix.lengthBytes + length);
}

/** Hashes a text's beginning once, to go on from it with `murmur3After`. */
export function hashPrefix(text: string): HashPrefix {
  return { text, ...absorb(encoder.encode(text)) };
}

/** The hash of any bytes. Exported so that a test can hold the way of ASCII against it. */
export function hashBytes(bytes: Uint8Array): number {
  const { hash, block, lengthBytes } = absorb(bytes);
  return finish(hash, block, lengthBytes);
}

function absorb(bytes: Uint8Array): HashState {
  let hash = 0;
  let block = 0;
  let blockBits = 0;
  for (const byte of bytes) {
    block |= byte << blockBits;
    blockBits = (blockBits + 8) & 31;
    if (blockBits === 0) {
      hash = mixBlock(hash, block);
      block = 0;
    }
  }
  return { hash, block, blockBits, lengthBytes: bytes.length };
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
