/**
 * The OpenFeature SDK as it is published, but for one thing: its async functions are the engine's own again. The published
 * build is for ES2015, where each is a generator that a helper drives.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { OpenFeature } from "@openfeature/server-sdk";

const HELPER = /var __async = [\s\S]*?\n};\n/;

/**
 * Loads the changed SDK, beside the one that is installed.
 * @throws Error where the published build has no such helper
 */
export async function nativeSdk(): Promise<{ readonly OpenFeature: typeof OpenFeature }> {
  const published = await readFile(fileURLToPath(import.meta.resolve("@openfeature/server-sdk")), "utf8");
  const source = withNativeAsync(published).replaceAll(
    /(from\s*)"(@openfeature\/[a-z-]+)"/g,
    (_, from: string, name: string) => `${from}"${import.meta.resolve(name)}"`,
  );
  const folder = await mkdtemp(join(tmpdir(), "flagback-bench-sdk-"));
  try {
    await writeFile(join(folder, "sdk.mjs"), source);
    return await import(pathToFileURL(join(folder, "sdk.mjs")).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** @throws Error where there is nothing to change */
function withNativeAsync(source: string): string {
  if (!HELPER.test(source)) throw new Error("the installed SDK is not built for ES2015");
  return source
    .replace(HELPER, "var __async = (self, args, body) => body.apply(self, args ?? []);\n")
    .replaceAll("function*", "async function")
    .replaceAll(/\byield\b/g, "await");
}
