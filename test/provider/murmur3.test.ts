import fc from "fast-check";
import { expect, test } from "vitest";
import { hashBytes, murmur3 } from "../../src/allocation/murmur3.ts";

const utf8 = new TextEncoder();
const ascii = fc.string({ unit: "binary-ascii", maxLength: 64 });
const any = fc.string({ unit: "binary", maxLength: 64 });

test("a text's hash is its UTF-8 bytes' hash, whether they are encoded for it or not", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        ascii,
        any,
        fc.tuple(ascii, any, ascii).map((parts) => parts.join("")),
      ),
      (text) => {
        expect(murmur3(text)).toBe(hashBytes(utf8.encode(text)));
      },
    ),
  );
});

test("a letter outside of ASCII is found wherever it stands", () => {
  for (let length = 1; length <= 9; length++) {
    for (let at = 0; at < length; at++) {
      const text = `${"a".repeat(at)}é${"a".repeat(length - at - 1)}`;
      expect(murmur3(text)).toBe(hashBytes(utf8.encode(text)));
    }
  }
});
