/** https://www.w3.org/TR/baggage/, section 3.3. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatMember, joinMembers, parseBaggage } from "../../provider/src/toolkit/w3c-baggage.ts";

const read = (header: string) =>
  parseBaggage(header).members.map(({ key, value, properties }) => [key, value, Object.fromEntries(properties)]);

test("the specification's own examples are read", () => {
  // Section 3.4.
  expect(read("key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue")).toEqual([
    ["key1", "value1", { property1: "", property2: "" }],
    ["key2", "value2", {}],
    ["key3", "value3", { propertyKey: "propertyValue" }],
  ]);
  expect(read("userId=alice,serverNode=DF%2028,isProduction=false")).toEqual([
    ["userId", "alice", {}],
    ["serverNode", "DF 28", {}],
    ["isProduction", "false", {}],
  ]);
  expect(read("serverNode=DF:28")).toEqual([["serverNode", "DF:28", {}]]);
  expect(read("userId=Am%C3%A9lie")).toEqual([["userId", "Amélie", {}]]);
});

test("bytes that are no UTF-8 become the replacement character, and a lone percent sign stands for itself", () => {
  expect(read("a=%FF%C3x,b=100%,c=%zz")).toEqual([
    ["a", "\uFFFD\uFFFDx", {}],
    ["b", "100%", {}],
    ["c", "%zz", {}],
  ]);
});

describe("what is no member", () => {
  test.each(["novalue", "a b=c", "=x", 'a="quoted"', "a=b c", "ä=b", "a=\\", "a=b;=c", 'a=b;p="q"'])(
    "%s is left out, and the rest is read",
    (text) => {
      const { members, problems } = parseBaggage(`x=1,${text},y=2`);
      expect(members.map((member) => member.key)).toEqual(["x", "y"]);
      expect(problems).toHaveLength(1);
    },
  );

  test("empty members are none at all", () => {
    expect(parseBaggage(", ,\t,a=1,,")).toMatchObject({ members: [{ key: "a" }], problems: [] });
    expect(parseBaggage("")).toEqual({ members: [], problems: [] });
  });
});

test("a header is read up to 64 members and 8192 bytes, and not at all beyond", () => {
  const members = (n: number) => Array.from({ length: n }, (_, i) => `k${i}=v`).join(",");
  expect(parseBaggage(members(64)).members).toHaveLength(64);
  expect(parseBaggage(members(65))).toMatchObject({ members: [], problems: [expect.stringContaining("65 members")] });
  expect(parseBaggage(`a=${"x".repeat(8_190)}`).members).toHaveLength(1);
  expect(parseBaggage(`a=${"x".repeat(8_191)}`)).toMatchObject({
    members: [],
    problems: [expect.stringContaining("8193 bytes")],
  });
});

test("whatever is said comes back, in ASCII that no comma, semicolon, quote, backslash or space splits", () => {
  const key = fc.stringMatching(/^[a-z.]{1,20}$/);
  const text = fc.string({ unit: "binary", maxLength: 60 });
  fc.assert(
    fc.property(fc.array(fc.tuple(key, text, text), { maxLength: 8 }), (said) => {
      const { header, leftOut } = joinMembers(said.map(([name, value, p]) => formatMember(name, value, { p })));
      expect(leftOut).toBe(0);
      expect(header).toMatch(/^[\x21\x23-\x2b\x2c\x2d-\x5b\x5d-\x7e]*$/);
      expect(read(header)).toEqual(said.map(([name, value, p]) => [name, value, { p }]));
    }),
  );
});

test("what is joined is within the limits, and what has no room is left out by whole members", () => {
  const members = fc.array(
    fc.nat(4_000).map((length) => `k=${"x".repeat(length)}`),
    { maxLength: 100 },
  );
  fc.assert(
    fc.property(members, (texts) => {
      const { header, leftOut } = joinMembers(texts);
      const { members: taken, problems } = parseBaggage(header);
      expect(problems).toEqual([]);
      expect(taken.length + leftOut).toBe(texts.length);
      if (texts.length <= 64 && texts.join(",").length <= 8_192) expect(leftOut).toBe(0);
    }),
  );
  // Exactly full: 8192 bytes with the comma.
  expect(joinMembers([`a=${"x".repeat(4_000)}`, `b=${"y".repeat(4_187)}`])).toMatchObject({ leftOut: 0 });
  expect(joinMembers([`a=${"x".repeat(4_000)}`, `b=${"y".repeat(4_188)}`])).toMatchObject({ leftOut: 1 });
});

test("no text makes reading throw", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => void parseBaggage(text)));
});
