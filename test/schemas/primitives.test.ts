import { Duration, durationMs, Name, Reason, Scope, VersionId } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("durations", () => {
  test.each([
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
  ])("%s is %i ms", (text, ms) => {
    expect(durationMs(Duration.parse(text))).toBe(ms);
  });

  test.each(["", "5", "5 s", "1.5h", "-1s", "1w", "1h30m", "5S", "s"])("%j is no duration", (text) => {
    expect(Duration.safeParse(text).success).toBe(false);
    expect(() => durationMs(text)).toThrow(RangeError);
  });

  test("what the schema takes, the function reads as a safe whole number", () => {
    const text = fc.tuple(fc.integer({ min: 0, max: 999_999_999 }), fc.constantFrom("ms", "s", "m", "h", "d"));
    fc.assert(
      fc.property(text, ([n, unit]) => {
        const parsed = Duration.safeParse(`${n}${unit}`);
        if (parsed.success) expect(Number.isSafeInteger(durationMs(parsed.data))).toBe(true);
      }),
    );
  });
});

describe("scopes", () => {
  test.each(["*", "agent=support-agent", "agent=support-agent,tool=refund", "tenant=a:b/c"])(
    "%j is a scope",
    (scope) => {
      expect(Scope.safeParse(scope).success).toBe(true);
    },
  );

  test.each(["", "agent", "agent=", "=x", "agent=a,,tool=b", "agent=a b", "*,agent=a", "agent=a,"])(
    "%j is no scope",
    (scope) => {
      expect(Scope.safeParse(scope).success).toBe(false);
    },
  );
});

describe("names", () => {
  test("the version ids of the seeds and of registries are version ids", () => {
    for (const id of ["support-agent@2.4.0", "anthropic:claude-sonnet-4-6:ap-south-1", "org/model@sha+1"]) {
      expect(VersionId.safeParse(id).success, id).toBe(true);
    }
  });

  test("a name that JavaScript treats specially is no name", () => {
    for (const name of ["__proto__", "", " a", "a b", "-a", "a/b", "a".repeat(129)]) {
      expect(Name.safeParse(name).success, name).toBe(false);
    }
  });

  test("a reason of white space is no reason", () => {
    expect(Reason.safeParse("   ").success).toBe(false);
    expect(Reason.parse(" because ")).toBe("because");
  });
});
