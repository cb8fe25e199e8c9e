import { ERROR_STATUS, type ErrorCode, FlagbackError } from "@flagback/schemas";
import { expect, test } from "vitest";

test("an error keeps its code, hint, problems and cause, and knows its HTTP status", () => {
  const cause = new Error("line 3");
  const error = new FlagbackError(
    { code: "malformed_yaml", message: "the file is no YAML", hint: "Check line 3.", problems: ["a tab"] },
    { cause },
  );
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({
    name: "FlagbackError",
    code: "malformed_yaml",
    message: "the file is no YAML",
    hint: "Check line 3.",
    problems: ["a tab"],
    status: 400,
    cause,
  });
});

test("every code has a status that HTTP knows as an error, and a name in snake case", () => {
  for (const code of Object.keys(ERROR_STATUS) as ErrorCode[]) {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    const { status } = new FlagbackError({ code, message: "m", hint: "h" });
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
  }
});
