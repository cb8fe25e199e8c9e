import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { RuntimeDocument } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCache, encodeCache } from "../../provider/src/cache/codec.ts";
import { CACHE_CHUNK_LENGTH } from "../../provider/src/limits.ts";
import { alias, flag, killSwitch, rolledBack } from "./documents.ts";

const HEADER = {
  server: "http://127.0.0.1:7780/v1/snapshot",
  token: "a".repeat(64),
  sdk: "@flagback/provider 0.1.0",
  writtenAt: "2026-01-02T03:04:05.678Z",
  cursor: { epoch: "e".repeat(32), revision: 7, mark: "0123456789abcdef" },
};
const WHOLE = { format: "flagback-cache", version: 1, ...HEADER };

const encoded = (...documents: RuntimeDocument[]) => Buffer.from([...encodeCache(HEADER, documents)].join(""));

/** A file as somebody would write it who computes the checksum too. */
function signed(...lines: unknown[]): Buffer {
  const content = lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
  return Buffer.from(`${content}sha256 ${createHash("sha256").update(content).digest("hex")}\n`);
}

describe("a cache file", () => {
  const key = fc.stringMatching(/^[a-z0-9][a-zA-Z0-9._-]{0,20}$/);
  // No version can be registered with a key that sets a prototype.
  const payload = fc.jsonValue({ maxDepth: 4 }).filter((value) => !JSON.stringify(value).includes('"__proto__"'));
  const document = fc.oneof(
    fc.record({ key, payload }).map(({ key, payload }) => {
      const version = { payload: JSON.parse(JSON.stringify(payload)), digest: "c".repeat(64) };
      return alias({
        key,
        stable: "v@1",
        allocation: [{ version: "v@1", weight: 100_000 }],
        versions: { "v@1": version },
      });
    }),
    fc.record({ key, scope: fc.constantFrom("*", "agent=a", "agent=a,tool=ü") }).map(({ key, scope }) => ({
      ...killSwitch(scope),
      key,
    })),
    key.map((key) => flag(key, { targeting: { if: [{ "==": [{ var: "tenant" }, "acme\n✓"] }, "off", "on"] } })),
  );

  test("gives back what was put into it", () => {
    fc.assert(
      fc.property(fc.array(document, { maxLength: 20 }), (documents) => {
        expect(decodeCache(encoded(...documents))).toEqual({ kind: "whole", header: WHOLE, documents });
      }),
    );
  });

  test("is known as damaged when any of its bits is another", () => {
    const bytes = encoded(rolledBack(), killSwitch("*"));
    expect(decodeCache(bytes).kind).toBe("whole");
    const missed: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        bytes[at]! ^= 1 << bit;
        if (decodeCache(bytes).kind !== "damaged") missed.push(`bit ${bit} of byte ${at}`);
        bytes[at]! ^= 1 << bit;
      }
    }
    expect(missed).toEqual([]);
  });

  test("is known as damaged when it was cut anywhere, or something follows it", () => {
    const bytes = encoded(rolledBack(), killSwitch("*"));
    const missed = [...bytes.keys()].filter((length) => decodeCache(bytes.subarray(0, length)).kind !== "damaged");
    expect(missed).toEqual([]);
    expect(decodeCache(Buffer.concat([bytes, Buffer.from("\n")])).kind).toBe("damaged");
    expect(decodeCache(Buffer.concat([bytes, bytes])).kind).toBe("damaged");
  });

  test.each([
    ["of a later format", signed({ ...WHOLE, version: 2 }), "format version 2"],
    ["something else", signed({ format: "other" }), "no cache of flagback's"],
    ["nothing", signed("null"), "no cache of flagback's"],
    ["without a cursor", signed({ ...WHOLE, cursor: undefined }), "header: cursor"],
    ["with a document that no server sends", signed(WHOLE, killSwitch(), { kind: "flag" }), "document 2: key"],
    ["no JSON", signed(WHOLE, "secret words"), "can't be read (SyntaxError)"],
    ["nested deeper than any stack", signed(WHOLE, "[".repeat(1_000_000)), "can't be read"],
  ])("whose checksum is right but that is %s is damaged, and no word of it is quoted", (_what, bytes, problem) => {
    const decoded = decodeCache(bytes);
    expect(decoded).toEqual({ kind: "damaged", problem: expect.stringContaining(problem) });
    expect(JSON.stringify(decoded)).not.toContain("secret");
  });

  test("is read with fields that a later release added", () => {
    expect(decodeCache(signed({ ...WHOLE, later: 1 }, { ...killSwitch(), later: 1 }))).toEqual({
      kind: "whole",
      header: WHOLE,
      documents: [killSwitch()],
    });
  });

  test("of format version 1, as the first release wrote it, is read for ever", () => {
    const golden = fileURLToPath(new URL("../fixtures/cache/version-1.flagback-cache", import.meta.url));
    expect(decodeCache(readFileSync(golden))).toEqual({
      kind: "whole",
      header: WHOLE,
      documents: [rolledBack(), killSwitch("agent=support-agent"), flag("banner", {})],
    });
  });

  test("is made in pieces, each no longer than its bound and a document", () => {
    const payload = "x".repeat(CACHE_CHUNK_LENGTH / 4);
    const documents = Array.from({ length: 20 }, (_, i) =>
      flag(`flag-${i}`, { variants: { on: payload }, defaultVariant: "on" }),
    );
    const pieces = [...encodeCache(HEADER, documents)];
    const longest = JSON.stringify(documents.at(-1)).length;
    expect(pieces.length).toBeGreaterThan(4);
    for (const piece of pieces) expect(piece.length).toBeLessThan(CACHE_CHUNK_LENGTH + longest + 100);
    expect(decodeCache(Buffer.from(pieces.join("")))).toMatchObject({ kind: "whole", documents });
  });
});
