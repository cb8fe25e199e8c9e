import fc from "fast-check";
import { expect, test } from "vitest";
import { PersistentMap } from "../../src/evaluation/persistent-map.ts";

const key = fc.constantFrom("a", "b", "c", "d");
const changes = fc.array(fc.tuple(key, fc.option(fc.nat(9), { nil: undefined })), { maxLength: 3 });
/** One step: which generation is changed, how, and which one is read afterwards. */
const step = fc.record({ from: fc.nat(), changes, read: fc.nat() });

const contents = (map: PersistentMap<number>) => new Map(map);

test("every generation keeps what it held, whichever are changed and read again in between", () => {
  fc.assert(
    fc.property(fc.dictionary(key, fc.nat(9)), fc.array(step, { maxLength: 12 }), (start, steps) => {
      const first = Object.entries(start);
      const generations = [{ map: new PersistentMap(first), expected: new Map(first) }];
      const at = (index: number) => generations[index % generations.length]!;
      for (const { from, changes, read } of steps) {
        const { map, expected } = at(from);
        const next = new Map(expected);
        for (const [name, value] of new Map(changes)) {
          if (value === undefined) next.delete(name);
          else next.set(name, value);
        }
        generations.push({ map: map.with(new Map(changes)), expected: next });
        expect(contents(at(read).map)).toEqual(at(read).expected);
      }
      for (const { map, expected } of generations) {
        expect(contents(map)).toEqual(expected);
        expect(map.size).toBe(expected.size);
        for (const name of ["a", "b", "c", "d"]) {
          expect(map.get(name)).toBe(expected.get(name));
          expect(map.has(name)).toBe(expected.has(name));
        }
      }
    }),
  );
});

test("whoever walks through a map sees it as it was when they began", () => {
  const map = new PersistentMap([
    ["a", 1],
    ["b", 2],
  ]);
  const seen: [string, number][] = [];
  let next = map;
  for (const each of map) {
    next = next.with(new Map([["b", 3]])).with(new Map([["c", 4]]));
    seen.push(each);
  }
  expect(seen).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  expect(contents(next)).toEqual(new Map(Object.entries({ a: 1, b: 3, c: 4 })));
});
