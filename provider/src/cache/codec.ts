/**
 * The cache file's text: a line of JSON that says what it is, a line for each document, and last a SHA-256 of all that. A
 * file that was cut or changed in any byte is known as such. The checksum proves that the file is whole, not who wrote it.
 */
import { createHash } from "node:crypto";
import { CACHE_FORMAT, CACHE_VERSION, CacheHeader, RuntimeDocument } from "@flagback/schemas";
import { CACHE_CHUNK_LENGTH } from "../limits.ts";
import { nameOfThrown } from "../thrown.ts";

export type DecodedCache =
  | { readonly kind: "whole"; readonly header: CacheHeader; readonly documents: readonly RuntimeDocument[] }
  | { readonly kind: "damaged"; readonly problem: string };

/** `sha256 `, 64 hex digits and the end of the line. */
const FOOTER_LENGTH = 72;

/** Pieces to write one after the other, so that nobody has to hold up the event loop for a large whole. */
export function* encodeCache(
  header: Omit<CacheHeader, "format" | "version">,
  documents: Iterable<RuntimeDocument>,
): Generator<string> {
  const hash = createHash("sha256");
  let piece = `${JSON.stringify({ format: CACHE_FORMAT, version: CACHE_VERSION, ...header })}\n`;
  for (const document of documents) {
    if (piece.length >= CACHE_CHUNK_LENGTH) {
      hash.update(piece);
      yield piece;
      piece = "";
    }
    piece += `${JSON.stringify(document)}\n`;
  }
  yield `${piece}sha256 ${hash.update(piece).digest("hex")}\n`;
}

/** Never throws. */
export function decodeCache(bytes: Buffer): DecodedCache {
  const content = bytes.subarray(0, Math.max(0, bytes.length - FOOTER_LENGTH));
  const footer = bytes.subarray(content.length).toString("latin1");
  const digest = createHash("sha256").update(content).digest("hex");
  if (footer !== `sha256 ${digest}\n`) return damaged("it was cut or changed: its checksum is another");
  try {
    const [first = "", ...lines] = content.toString().split("\n").slice(0, -1);
    const header = readHeader(JSON.parse(first));
    if (typeof header === "string") return damaged(header);
    const documents: RuntimeDocument[] = [];
    for (const line of lines) {
      const parsed = RuntimeDocument.safeParse(JSON.parse(line));
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        return damaged(`document ${documents.length + 1}: ${issue?.path.join(".")}: ${issue?.message}`);
      }
      documents.push(parsed.data);
    }
    return { kind: "whole", header, documents };
  } catch (error) {
    // The engine's message may quote the file, and problems are logged.
    return damaged(`its JSON can't be read (${nameOfThrown(error)})`);
  }
}

/** The header, or what is wrong with it. */
function readHeader(value: { readonly format?: unknown; readonly version?: unknown } | null): CacheHeader | string {
  if (value?.format !== CACHE_FORMAT) return "it is no cache of flagback's";
  if (value.version !== CACHE_VERSION) return `it has format version ${JSON.stringify(value.version)?.slice(0, 20)}`;
  const parsed = CacheHeader.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return `header: ${issue?.path.join(".")}: ${issue?.message}`;
}

function damaged(problem: string): DecodedCache {
  return { kind: "damaged", problem };
}
