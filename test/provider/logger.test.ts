import { expect, test } from "vitest";
import { problemLog } from "../../provider/src/logger.ts";

function log() {
  const lines: string[] = [];
  const say = (message: string) => lines.push(message);
  return { lines, problems: problemLog({ warn: say, error: say }) };
}

test("a problem is said once, and again after it was resolved", () => {
  const { lines, problems } = log();
  for (let i = 0; i < 3; i++) problems.warn("connection.500", "gone");
  problems.resolved("connection");
  problems.warn("connection.500", "gone");
  expect(lines).toEqual(["gone", "gone"]);
});

test("a flood of one topic ends with a line that says so, and a refused token is still heard", () => {
  const { lines, problems } = log();
  for (let i = 0; i < 10_000; i++) problems.warn(`outcome.field${i}`, `field${i} is wrong`);
  expect(lines.length).toBeLessThan(100);
  expect(lines.at(-1)).toContain("further problems of this kind, outcome, are not logged");
  problems.error("token.refused", "the token is refused");
  expect(lines.at(-1)).toBe("the token is refused");
});

test("a logger that throws costs the agent nothing", () => {
  const problems = problemLog({
    warn: () => {
      throw new Error("disk full");
    },
    error() {},
  });
  expect(() => problems.warn("outcome.x", "x")).not.toThrow();
});
