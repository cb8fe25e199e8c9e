/**
 * Packs workspaces as `npm publish` would, so that tests meet what a stranger would install.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Folder of each package that is published, by its name. */
export const PUBLISHED = {
  "@flagback/schemas": "schemas",
  "@flagback/core": "src",
  "@flagback/provider": "provider",
  flagback: "server",
} as const;
export type PublishedName = keyof typeof PUBLISHED;

export interface Packed {
  readonly name: PublishedName;
  /** Absolute path of the tarball. */
  readonly tarball: string;
  /** Paths inside the package. */
  readonly files: readonly string[];
}

/** Packs into `folder`. Builds first where a package has never been built, and bundles what the provider carries. */
export function pack(names: readonly PublishedName[], folder: string): Packed[] {
  if (names.some((name) => !existsSync(join(ROOT, PUBLISHED[name], "dist/index.js")))) {
    execFileSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-b"], {
      cwd: ROOT,
      stdio: "inherit",
    });
  }
  if (names.includes("@flagback/provider")) {
    execFileSync("npm", ["run", "--silent", "bundle", "--workspace", PUBLISHED["@flagback/provider"]], {
      cwd: ROOT,
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
  const workspaces = names.flatMap((name) => ["--workspace", PUBLISHED[name]]);
  const stdout = execFileSync(
    "npm",
    ["pack", ...workspaces, "--json", "--ignore-scripts", "--pack-destination", folder],
    {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const packed: { name: PublishedName; filename: string; files: { path: string }[] }[] = JSON.parse(stdout);
  return packed.map(({ name, filename, files }) => ({
    name,
    // npm 10 prints the name with its scope, the file has it with a dash.
    tarball: join(folder, filename.replace(/^@/, "").replace("/", "-")),
    files: files.map((file) => file.path),
  }));
}
