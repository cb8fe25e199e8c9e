import fc from "fast-check";
import { expect, test } from "vitest";
import { hashBytes, hashPrefix, murmur3, murmur3After } from "../../src/allocation/murmur3.ts";

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

test("a text that is hashed in two parts, wherever it is cut, has the hash of the whole", () => {
  fc.assert(
    fc.property(fc.oneof(ascii, any), fc.oneof(ascii, any), (first, second) => {
      expect(murmur3After(hashPrefix(first), second)).toBe(hashBytes(utf8.encode(first + second)));
    }),
  );
});

test("a letter that the cut goes through is hashed as one letter", () => {
  // U+1F600 is two UTF-16 units and one UTF-8 sequence of four bytes.
  expect(murmur3After(hashPrefix("a\ud83d"), "\ude00b")).toBe(hashBytes(utf8.encode("a\u{1f600}b")));
});
