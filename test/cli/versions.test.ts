import type { VersionDiff } from "@flagback/schemas";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { versionDiffText } from "../../server/src/cli/version-diff-text.ts";
import { fakeIo } from "./fake-io.ts";
import { changeAnswer, fakeServer } from "./fake-server.ts";

const side = (id: string): VersionDiff["from"] => ({
  id,
  alias: "bot",
  kind: "prompt",
  digest: id.repeat(64).slice(0, 64),
  labels: {},
  notes: "",
  createdAt: "2026-01-02T03:04:05.678Z",
  createdBy: "ada",
});
const same = (text: string) => ({ kind: "same" as const, text });
const DIFF: VersionDiff = {
  from: side("a"),
  to: side("b"),
  isSamePayload: false,
  changes: [
    {
      op: "replace",
      path: "/prompt",
      lines: [
        ..."123456".split("").map(same),
        {
          kind: "removed",
          text: "in English",
          parts: [
            { text: "in ", isChanged: false },
            { text: "English", isChanged: true },
          ],
        },
        { kind: "added", text: "in Dutch" },
        ..."12345".split("").map(same),
      ],
    },
    { op: "add", path: "/tools", to: ["search"] },
  ],
  omitted: 1,
};

test("a diff shows what changed with three lines around it, and values as JSON", () => {
  expect(versionDiffText(DIFF, (_style, text) => text).split("\n")).toEqual([
    "- a (prompt, digest aaaaaaaaaaaa)",
    "+ b (prompt, digest bbbbbbbbbbbb)",
    "",
    "/prompt (replace)",
    "  … 3 lines alike",
    "  4",
    "  5",
    "  6",
    "- in English",
    "+ in Dutch",
    "  1",
    "  2",
    "  3",
    "  … 2 lines alike",
    "",
    "/tools (add)",
    "+ [",
    '+   "search"',
    "+ ]",
    "",
    "1 more difference is not shown.",
  ]);
});

test("the words that changed are marked where the terminal has colours", () => {
  const painted = versionDiffText(DIFF, (style, text) => (Array.isArray(style) ? `<${text}>` : text));
  expect(painted).toContain("- in <English>");
});

test("versions diff asks for both, whatever their ids", async () => {
  const { url, asked } = await fakeServer(() => ({ body: { ...DIFF, isSamePayload: true, changes: [] } }));
  const io = fakeIo();
  expect(await runCli(["versions", "diff", "a/b@1", "a/b@2", "--url", url], io)).toBe(0);
  expect(asked.map(({ path }) => decodeURIComponent(path))).toEqual(["/v1/versions/a/b@1/diff/a/b@2"]);
  expect(io.written.stdout).toContain("The payloads are the same.");
});

test("versions retire needs a reason", async () => {
  const { url, asked } = await fakeServer(() => changeAnswer("Retired bot@1."));
  expect(await runCli(["versions", "retire", "bot@1", "--url", url], fakeIo())).toBe(2);
  expect(asked).toEqual([]);
  expect(await runCli(["versions", "retire", "bot@1", "--reason", "tidy", "--url", url], fakeIo())).toBe(0);
  expect(asked).toMatchObject([{ method: "POST", path: "/v1/versions/bot%401/retire", body: '{"reason":"tidy"}' }]);
});
