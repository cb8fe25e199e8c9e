/**
 * The `baggage` header of W3C (https://www.w3.org/TR/baggage/, section 3.3): members `key=value;property=value`, separated
 * by commas, at most 64 and 8 192 bytes together. Values are percent-encoded UTF-8.
 */
import { MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS } from "../limits.ts";

export interface BaggageMember {
  readonly key: string;
  readonly value: string;
  readonly properties: ReadonlyMap<string, string>;
  /** As it stood in the header. */
  readonly text: string;
}

export interface ParsedBaggage {
  readonly members: readonly BaggageMember[];
  /** What could not be read, each in a few words. */
  readonly problems: readonly string[];
}

/** RFC 7230, section 3.2.6. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;

/** Never throws. A header beyond the limits is not read at all; a member that can't be read is left out. */
export function parseBaggage(header: string): ParsedBaggage {
  const bytes = Buffer.byteLength(header);
  if (bytes > MAX_BAGGAGE_BYTES) return unread(`it has ${bytes} bytes, more than ${MAX_BAGGAGE_BYTES}`);
  const texts = header
    .split(",")
    .map(trimmed)
    .filter((text) => text !== "");
  if (texts.length > MAX_BAGGAGE_MEMBERS) {
    return unread(`it has ${texts.length} members, more than ${MAX_BAGGAGE_MEMBERS}`);
  }
  const members: BaggageMember[] = [];
  const problems: string[] = [];
  for (const text of texts) {
    const member = parseMember(text);
    if (member) members.push(member);
    else problems.push(`${JSON.stringify(text.slice(0, 64))} is no member`);
  }
  return { members, problems };
}

/** A member's text. The value may hold anything; key and property names must be tokens. */
export function formatMember(key: string, value: string, properties: Readonly<Record<string, string>> = {}): string {
  const parts = Object.entries(properties).map(([name, property]) => `;${name}=${percentEncoded(property)}`);
  return `${key}=${percentEncoded(value)}${parts.join("")}`;
}

/** The members in order, as many as the limits allow, and how many were left out. */
export function joinMembers(texts: readonly string[]): { readonly header: string; readonly leftOut: number } {
  const taken: string[] = [];
  let bytes = 0;
  for (const text of texts) {
    const more = Buffer.byteLength(text) + 1;
    // The comma before the first one is none.
    if (taken.length >= MAX_BAGGAGE_MEMBERS || bytes + more - 1 > MAX_BAGGAGE_BYTES) continue;
    taken.push(text);
    bytes += more;
  }
  return { header: taken.join(","), leftOut: texts.length - taken.length };
}

export function isBaggageKey(key: string): boolean {
  return TOKEN.test(key);
}

function unread(problem: string): ParsedBaggage {
  return { members: [], problems: [problem] };
}

function parseMember(text: string): BaggageMember | undefined {
  const [first = "", ...rest] = text.split(";");
  const { name: key, value } = parsePair(first);
  if (!TOKEN.test(key) || value === undefined || !VALUE.test(value)) return undefined;
  const properties = new Map<string, string>();
  for (const part of rest) {
    const property = parsePair(part);
    if (!TOKEN.test(property.name) || !VALUE.test(property.value ?? "")) return undefined;
    properties.set(property.name, percentDecoded(property.value ?? ""));
  }
  return { key, value: percentDecoded(value), properties, text };
}

function parsePair(text: string): { readonly name: string; readonly value: string | undefined } {
  const equals = text.indexOf("=");
  if (equals < 0) return { name: trimmed(text), value: undefined };
  return { name: trimmed(text.slice(0, equals)), value: trimmed(text.slice(equals + 1)) };
}

/** Optional white space is spaces and tabs. */
function trimmed(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** As a value of a member stands. Whoever calls us from JavaScript may have a number for an id. */
export function percentEncoded(text: string): string {
  // By way of bytes, because half a surrogate pair has no encoding.
  return encodeURIComponent(Buffer.from(String(text)).toString());
}

/** What is no UTF-8 becomes U+FFFD, as the specification asks; a lone `%` stands for itself. */
export function percentDecoded(value: string): string {
  const bytes = value.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
