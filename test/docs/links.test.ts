import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const pages = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], { cwd: ROOT })
  .toString()
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(ROOT, path)));

describe("every relative link of the documentation leads somewhere", () => {
  test.each(pages)("%s", (page) => {
    const broken = linksOf(read(page)).filter((link) => {
      const [path = "", heading] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, target))) return true;
      return heading !== undefined && target.endsWith(".md") && !headingsOf(read(target)).includes(heading);
    });
    expect(broken).toEqual([]);
  });
});

test("a broken link and a missing heading would be seen", () => {
  expect(linksOf("see [a](docs/a.md#b) and ![c](c.png), not [d](https://example.org) or `[e](f)`")).toEqual([
    "docs/a.md#b",
    "c.png",
  ]);
  expect(headingsOf("# One: two\n## `three` four\ntext\n```\n# no heading\n```")).toEqual(["one-two", "three-four"]);
});

function read(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** Targets of links and pictures inside the repository. Code is left out. */
function linksOf(markdown: string): string[] {
  const prose = withoutFences(markdown).replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? "")
    .filter((link) => !/^[a-z][a-z0-9+.-]*:/.test(link));
}

/** Anchors as GitHub makes them from headings. */
function headingsOf(markdown: string): string[] {
  return [...withoutFences(markdown).matchAll(/^#{1,6} (.+)$/gm)].map((match) =>
    (match[1] ?? "")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replace(/\s/g, "-"),
  );
}

function withoutFences(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```/gm, "");
}
