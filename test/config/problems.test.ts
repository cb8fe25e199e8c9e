/**
 * What is wrong with files is said all at once, each with its file, line and column.
 */
import { FlagbackError } from "@flagback/schemas";
import { expect, test } from "vitest";
import { readConfig } from "../../server/src/config/parse-config.ts";
import { testServer } from "../support/server.ts";

test("every mistake in the YAML of every file is named with file, line and column", () => {
  const problems = problemsOf({ "one.yaml": "aliases:\n  a: [1, 2\n", "two.yaml": "flags: {}\nflags: {}\n" });
  expect(problems.filter((problem) => problem.startsWith("one.yaml:3:1: "))).not.toEqual([]);
  expect(problems.filter((problem) => problem.startsWith("two.yaml:2:1: "))).toEqual([
    "two.yaml:2:1: Map keys must be unique",
  ]);
});

test("what the schema refuses is named where it stands, in every file, with the nearest key that is known", () => {
  const one =
    "aliases:\n  agent:\n    stabel: agent@1\n    policy:\n      guardrails:\n        - {metric: eror_rate, max: 1}\n";
  const two = "versions:\n  - id: agent@1\n  - id: agent 2\n";
  const problems = problemsOf({ "one.yaml": one, "two.yaml": two });
  expect(problems).toHaveLength(3);
  expect(problems).toContain("one.yaml:3:5: aliases.agent.stabel: unknown key; did you mean stable?");
  expect(problems).toContainEqual(
    expect.stringMatching(/^one\.yaml:6:12: aliases\.agent\.policy\.guardrails\[0\]\.metric: use error_rate, /),
  );
  expect(problems).toContainEqual(expect.stringMatching(/^two\.yaml:3:5: versions\[1\]\.id: use letters/));
});

test("what is in two files is named with both places, because nobody could say which should win", () => {
  const file = "flags:\n  f: {state: ENABLED, variants: {on: true}}\n";
  expect(problemsOf({ "a/one.yaml": file, "b/two.yaml": `# again\n${file}` })).toEqual([
    "b/two.yaml:3:3: flags.f is in a/one.yaml:2:3, too",
  ]);
  const block = "rollback: {stable_version: a@1, triggers: {}}\n";
  expect(problemsOf({ "one.yaml": block, "two.yaml": block })).toEqual([
    "two.yaml:1:1: rollback is in one.yaml:1:1, too",
  ]);
});

test("what only the whole shows is named in the file that says it", () => {
  const problems = problemsOf({
    "one.yaml": "versions:\n  - {id: agent@1}\n",
    "two.yaml": "versions:\n  - id: agent@1\naliases:\n  b:\n    candidates:\n      - {id: b@1, weight: 60}\n",
  });
  expect(problems).toEqual([
    "two.yaml:2:5: versions: agent@1 is listed twice",
    "two.yaml:5:5: aliases.b.candidates: the weights sum to 60 %, not 100 %",
    'two.yaml:4:3: aliases.b: no version has 100 %; say which one is stable with "stable: VERSION"',
  ]);
});

test("one text without a name is named by line and column", () => {
  expect(() => readConfig([{ text: "flags:\n  f: 1\n" }])).toThrow(/^line 2, column 3: flags\.f: /);
});

test("what the server refuses is named where the file asks for it, all at once, and nothing is applied", async () => {
  const server = await testServer();
  const text = `
versions:
  - {id: one@1, payload: {prompt: a}}
aliases:
  one:
    stable: one@1
    policy: {guardrails: [{metric: error_rate, max: 0.1}], onBreach: {engage: [nothing]}}
  writes_disabled:
    stable: writes_disabled@1
flags:
  bad: {state: ENABLED, variants: {on: true}, defaultVariant: off}
`;
  const answer = await server.call<{ problems: string[] }>("POST", "/v1/apply", { files: [{ name: "x.yaml", text }] });
  expect(answer.status).toBe(400);
  const places = answer.body.problems.map((problem) => problem.split(": ")[0]);
  expect(places).toEqual(expect.arrayContaining(["x.yaml:5:3", "x.yaml:8:3", "x.yaml:11:3"]));
  expect((await server.call("GET", "/v1/versions")).body).toEqual({ versions: [] });
});

function problemsOf(files: Readonly<Record<string, string>>): readonly string[] {
  try {
    readConfig(Object.entries(files).map(([name, text]) => ({ name, text })));
  } catch (error) {
    if (error instanceof FlagbackError) return error.problems ?? [];
    throw error;
  }
  throw new Error("there was no problem");
}
