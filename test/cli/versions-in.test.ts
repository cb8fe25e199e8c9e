import type { Json } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { versionsIn } from "../../server/src/cli/import/versions-in.ts";
import { readYaml } from "../../server/src/config/parse-config.ts";

const found = (files: Readonly<Record<string, string>>) => versionsIn(new Map(Object.entries(files)), readYaml);

describe("a file is a version", () => {
  test("where text is named after it: a prompt", () => {
    expect(found({ "support-agent@2.4.0.md": "# Be kind.\n", "old/support-agent@2.3.3.txt": "Be brief." })).toEqual({
      versions: [
        version("support-agent@2.4.0", "prompt", { prompt: "# Be kind." }, "support-agent@2.4.0.md"),
        version("support-agent@2.3.3", "prompt", { prompt: "Be brief." }, "old/support-agent@2.3.3.txt"),
      ],
      ignored: [],
      problems: [],
    });
  });

  test("where YAML or JSON is named after it: what the API takes, without the id", () => {
    const yaml = "kind: model\npayload: {model: claude}\nlabels: {team: support}\nnotes: cheaper\n";
    const { versions } = found({ "router@1.yaml": yaml, "router@2.json": '{"kind": "tools", "payload": ["search"]}' });
    expect(versions).toEqual([
      {
        ...version("router@1", "model", { model: "claude" }, "router@1.yaml"),
        labels: { team: "support" },
        notes: "cheaper",
      },
      version("router@2", "tools", ["search"], "router@2.json"),
    ]);
  });

  test("where it has an id that is no file name", () => {
    const yaml = "id: anthropic:claude-sonnet-4-6\nalias: smart-reasoner\nkind: model\npayload: {}\n";
    expect(found({ "models/sonnet.yaml": yaml }).versions).toEqual([
      { ...version("anthropic:claude-sonnet-4-6", "model", {}, "models/sonnet.yaml"), alias: "smart-reasoner" },
    ]);
  });

  test("and anything else is left alone, and said to be", () => {
    const others = {
      "README.md": "# Prompts",
      "package.json": '{"name": "prompts"}',
      "broken.yaml": "a: [",
      "logo@1.png": "?",
      "agent@1/deeper/prompt.md": "x",
      notes: "",
    };
    expect(found(others)).toEqual({ versions: [], ignored: Object.keys(others), problems: [] });
  });
});

describe("a folder is a version", () => {
  test("whose files are the parts of its payload", () => {
    const { versions, problems } = found({
      "agents/support-agent@2.4.0/system.md": "Be kind.\r\nBe brief.\r\n",
      "agents/support-agent@2.4.0/tools.yaml": "- search\n- refund\n",
      "agents/support-agent@2.4.0/limits.json": '{"steps": 40}',
      "agents/support-agent@2.4.0/version.yaml": "kind: agent\nlabels: {team: support}\npayload: {temperature: 0.2}\n",
    });
    expect(problems).toEqual([]);
    expect(versions).toEqual([
      {
        ...version(
          "support-agent@2.4.0",
          "agent",
          { system: "Be kind.\nBe brief.", tools: ["search", "refund"], limits: { steps: 40 }, temperature: 0.2 },
          "agents/support-agent@2.4.0",
        ),
        labels: { team: "support" },
      },
    ]);
  });

  test("of prompts where all of it is text", () => {
    expect(found({ "bot@1/prompt.txt": "Hi." }).versions).toEqual([
      version("bot@1", "prompt", { prompt: "Hi." }, "bot@1"),
    ]);
  });
});

describe("is refused by name", () => {
  test.each([
    ["an unknown key", { "bot@1.yaml": "payloud: {}" }, "bot@1.yaml: payloud: unknown key; did you mean payload?"],
    ["an unknown kind", { "bot@1.yaml": "kind: prose" }, /^bot@1\.yaml: kind: /],
    ["another id than its name", { "bot@1.yaml": "id: bot@2" }, "bot@1.yaml: says id bot@2, and is named bot@1"],
    ["YAML that is none", { "bot@1.yaml": "a: [" }, /^bot@1\.yaml: Line \d+, column \d+/],
    ["a part that can't be a key", { "bot@1/__proto__.md": "x" }, "bot@1/__proto__.md: __proto__ can't be a key"],
    ["a bare value", { "bot@1.yaml": "just text" }, /^bot@1\.yaml: /],
    ["one id twice", { "a/bot@1.md": "a", "b/bot@1.md": "b" }, "b/bot@1.md: bot@1 is described by a/bot@1.md too"],
    [
      "one part twice",
      { "bot@1/tools.md": "a", "bot@1/tools.yaml": "[]" },
      "bot@1/tools.yaml: another file or version.yaml gives tools as well",
    ],
    [
      "a payload beside files that is no object",
      { "bot@1/tools.md": "a", "bot@1/version.yaml": "payload: 1" },
      /^bot@1: the payload in version\.yaml has to be an object/,
    ],
  ] as const)("%s", (_what, files, problem) => {
    const { problems } = found(files);
    expect(problems).toEqual([typeof problem === "string" ? problem : expect.stringMatching(problem)]);
  });

  test("all at once", () => {
    expect(found({ "bot@1.yaml": "kind: prose", "bot@2.yaml": "payloud: 1" }).problems).toHaveLength(2);
  });
});

test("a checkout's or an editor's line ends make no other payload", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 5 }).filter((line) => !/[\r\n\uFEFF]/.test(line))), (lines) => {
      const payloads = [
        lines.join("\n"),
        `${lines.join("\n")}\n`,
        lines.join("\r\n"),
        `\uFEFF${lines.join("\r\n")}\r\n`,
      ]
        // A text that ends in empty lines is another text without one of them.
        .filter(() => lines.at(-1) !== "")
        .map((text) => found({ "bot@1.md": text }).versions[0]?.payload);
      expect(new Set(payloads.map((payload) => JSON.stringify(payload))).size).toBeLessThanOrEqual(1);
    }),
  );
});

function version(id: string, kind: string, payload: Json, path: string) {
  return { id, kind, payload, labels: {}, notes: "", path };
}
