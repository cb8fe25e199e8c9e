/**
 * `npm run bundle`, after `tsc -b`: puts flagd-core, and what it needs, into the one file of `dist` that imports it, with the
 * licences of all that went in. What installs the provider then installs none of them.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";

const PROVIDER = fileURLToPath(new URL(".", import.meta.url));
const ENTRY = "src/snapshot/flagd.ts";
const OUTPUT = "dist/snapshot/flagd.js";
const NOTICES = "dist/THIRD_PARTY_NOTICES.txt";

/** What a package says of itself. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
}

await bundle();

async function bundle(): Promise<void> {
  // Beside its target, so that each file takes its place in one step: tests pack while others import.
  const folder = mkdtempSync(join(PROVIDER, "dist/.bundle-"));
  try {
    const { metafile, outputFiles } = await build({
      absWorkingDir: PROVIDER,
      entryPoints: [ENTRY],
      outfile: OUTPUT,
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      target: "node20.19",
      external: ["@openfeature/core"],
      metafile: true,
      // Some of it asks for Node's own modules as CommonJS does.
      banner: { js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);' },
      legalComments: "inline",
      logLevel: "warning",
    });
    replace(folder, OUTPUT, outputFiles[0]?.text ?? "");
    replace(folder, NOTICES, noticesOf(metafile));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function replace(folder: string, path: string, text: string): void {
  const temporary = join(folder, "file");
  writeFileSync(temporary, text);
  renameSync(temporary, join(PROVIDER, path));
}

/** Each bundled package with its licence's text. @throws Error where one has none: it could not be handed on */
function noticesOf(metafile: Metafile): string {
  const roots = new Set(Object.keys(metafile.inputs).flatMap((input) => packageRootOf(join(PROVIDER, input)) ?? []));
  const notices = [...roots].sort().map((root) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
    const text = licenceIn(root);
    if (text === undefined) throw new Error(`${name} is bundled and its folder holds no licence`);
    return `${name} ${version} (${license ?? "see below"})\n\n${text}`;
  });
  const intro = "dist/snapshot/flagd.js contains these packages, each under its own licence.";
  return `${[intro, ...notices].join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

/** The licence's text: a file of its own, or what the read-me says from the heading of that name on. */
function licenceIn(root: string): string | undefined {
  const files = readdirSync(root);
  const read = (name: RegExp) => {
    const file = files.find((each) => name.test(each));
    return file === undefined ? undefined : readFileSync(join(root, file), "utf8");
  };
  const own = read(/^(licen[cs]e|copying)(\.\w+)?$/i);
  return (own ?? /^#*\s*licen[cs]e\b[\s\S]*/im.exec(read(/^readme/i) ?? "")?.[0])?.trim();
}

/** Folder of the package that a file of `node_modules` belongs to; undefined for a file of ours. */
function packageRootOf(file: string): string | undefined {
  const match = /^(.*node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(file);
  return match?.[1];
}
