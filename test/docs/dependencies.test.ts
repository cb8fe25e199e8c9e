import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const MANIFESTS = ["", "schemas/", "src/", "provider/", "server/"];
type Manifest = Readonly<
  Partial<Record<"dependencies" | "devDependencies" | "peerDependencies", Record<string, string>>>
>;

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const manifestOf = (folder: string): Manifest => JSON.parse(read(`${folder}package.json`));
const manifests = MANIFESTS.map(manifestOf);
const ours = new Set(["@flagback/schemas", "@flagback/core", "@flagback/provider", "flagback"]);

/** Names in the first column of the table under a heading. */
function documented(heading: string): string[] {
  const section = read("docs/dependencies.md").split(`## ${heading}\n`)[1]?.split(/^## /m)[0] ?? "";
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? "").sort();
}

function declared(...kinds: (keyof Manifest)[]): string[] {
  const names = manifests.flatMap((manifest) => kinds.flatMap((kind) => Object.keys(manifest[kind] ?? {})));
  return [...new Set(names)].filter((name) => !ours.has(name)).sort();
}

test("each runtime dependency of any package has its sentence, and no sentence is left over", () => {
  expect(documented("At run time")).toEqual(declared("dependencies", "peerDependencies"));
});

test("each development dependency has its sentence, and no sentence is left over", () => {
  const runtime = new Set(declared("dependencies", "peerDependencies"));
  expect(documented("For development")).toEqual(declared("devDependencies").filter((name) => !runtime.has(name)));
});

test("each peer that only the benchmarks install has its sentence, and no sentence is left over", () => {
  const installed = new Set([...declared("dependencies", "peerDependencies", "devDependencies"), ...ours]);
  const peers = Object.keys(manifestOf("bench/").dependencies ?? {}).filter((name) => !installed.has(name));
  expect(documented("For benchmarks")).toEqual(peers.sort());
});
