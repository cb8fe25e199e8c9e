import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MAX_ATTRIBUTION_NOTES } from "../../provider/src/limits.ts";
import { Attribution } from "../../provider/src/outcomes/attribution.ts";
import { SDK_NAME } from "../../provider/src/version.ts";

const served = (alias: string, version: string) => ({ alias, version, revision: 1, payload: null });

test("the last evaluation of a targeting key is remembered, of any alias or of a named one", () => {
  const attribution = new Attribution(10);
  attribution.remember("u1", served("a", "a@1"));
  attribution.remember("u1", served("b", "b@1"));
  attribution.remember("u1", served("a", "a@2"));
  attribution.remember("u2", served("a", "a@3"));
  expect(attribution.lastServed("u1")?.version).toBe("a@2");
  expect(attribution.lastServed("u1", "b")?.version).toBe("b@1");
  expect(attribution.lastServed("u1", "c")).toBeUndefined();
  expect(attribution.lastServed("u3")).toBeUndefined();
});

test("keys that were not evaluated for long are forgotten, and at most twice the limit are held", () => {
  const attribution = new Attribution(10);
  for (let i = 0; i < 1_000; i++) attribution.remember(`u${i}`, served("a", "a@1"));
  const known = Array.from({ length: 1_000 }, (_, i) => attribution.lastServed(`u${i}`)).filter((each) => each);
  expect(known.length).toBeLessThanOrEqual(20);
  expect(attribution.lastServed("u999")).toBeDefined();
  expect(attribution.lastServed("u0")).toBeUndefined();
});

test("a key that is evaluated again and again is never forgotten", () => {
  const attribution = new Attribution(10);
  for (let i = 0; i < 1_000; i++) {
    attribution.remember("regular", served("a", "a@1"));
    attribution.remember(`u${i}`, served("a", "a@1"));
  }
  expect(attribution.lastServed("regular")?.version).toBe("a@1");
});

test("before anything was tracked the newest evaluations are remembered, and afterwards all of them by key", () => {
  const attribution = new Attribution(10);
  const regular = () => attribution.remember("regular", served("a", "a@1"));
  attribution.remember("first", served("a", "a@1"));
  for (let i = 0; i < MAX_ATTRIBUTION_NOTES; i++) regular();
  expect(attribution.lastServed("first")).toBeUndefined();
  attribution.remember("second", served("a", "a@2"));
  for (let i = 0; i < 3 * MAX_ATTRIBUTION_NOTES; i++) regular();
  expect(attribution.lastServed("second")?.version).toBe("a@2");
});

test("the provider introduces itself with its package's name and version", () => {
  const manifest = JSON.parse(readFileSync(new URL("../../provider/package.json", import.meta.url), "utf8"));
  expect(SDK_NAME).toBe(`${manifest.name} ${manifest.version}`);
});
