/** `flagback register --from`: all versions that a folder describes, in one transaction. */
import { aliasOfVersionId, FlagbackError } from "@flagback/schemas";
import { readYaml } from "../../config/parse-config.ts";
import type { FileTree } from "../import/file-tree.ts";
import { readFolder } from "../import/folder-tree.ts";
import { readGit } from "../import/git-tree.ts";
import { type FoundVersion, type FoundVersions, versionsIn } from "../import/versions-in.ts";
import type { Invocation } from "../remote-command.ts";
import { count } from "../text.ts";

export interface FromOptions {
  readonly from: string;
  readonly git?: string;
  readonly alias?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
}

/** What became of an import; also its JSON. */
interface Imported {
  readonly source: string;
  readonly applied: boolean;
  readonly revision: number;
  readonly registered: readonly string[];
  /** Registered before, with the same payload. */
  readonly unchanged: readonly string[];
  readonly ignored: readonly string[];
}

/** @throws FlagbackError `usage` with every problem of the files, or as the server refuses them all */
export async function registerFrom({ api, answer, paint }: Invocation, options: FromOptions): Promise<void> {
  const tree = await treeOf(options);
  const found = versionsIn(tree.files, readYaml);
  checkFound(tree, found);
  const versions = found.versions.map((version) => bodyOf(version, tree, options));
  const { applied, revision, plan } = await api.apply({ versions }, { dryRun: options.dryRun });
  const registered = plan
    .filter(({ action }) => action === "register")
    .map(({ target }) => target.replace("version:", ""));
  const imported: Imported = {
    source: tree.source,
    applied,
    revision,
    registered,
    unchanged: found.versions.map(({ id }) => id).filter((id) => !registered.includes(id)),
    ignored: [...found.ignored, ...tree.skipped],
  };
  answer(imported, () =>
    [
      ...imported.registered.map((id) => `${paint("green", "+")} register ${id}`),
      ...imported.unchanged.map((id) => `  ${id} is registered already, with the same payload`),
      ...imported.ignored.map((path) => paint("dim", `  ${path} describes no version`)),
      summary(imported, options.dryRun),
    ].join("\n"),
  );
}

/** `git:REF:FOLDER`, or a folder on the disk, or that folder as Git keeps it at `--git REF`. */
function treeOf({ from, git }: FromOptions): Promise<FileTree> {
  const [, ref, path] = /^git:([^:]+):(.*)$/s.exec(from) ?? [];
  if (ref !== undefined && git !== undefined) {
    throw new FlagbackError({
      code: "usage",
      message: "--from names a commit already, and so does --git.",
      hint: "Write --from git:REF:FOLDER, or --from DIR --git REF.",
    });
  }
  if (ref !== undefined) return readGit({ workingFolder: ".", ref, path });
  return git === undefined ? readFolder(from) : readGit({ workingFolder: from, ref: git });
}

function checkFound(tree: FileTree, { versions, problems }: FoundVersions): void {
  const [first] = problems;
  if (first !== undefined) {
    throw new FlagbackError({
      code: "usage",
      message: problems.length === 1 ? `${first}.` : `The files have ${problems.length} problems. First: ${first}.`,
      hint: "Correct them; nothing was registered.",
      problems,
    });
  }
  if (versions.length > 0) return;
  throw new FlagbackError({
    code: "usage",
    message: `${tree.source} describes no version.`,
    hint: "Name files or folders after their versions, such as support-agent@2.4.0.md; docs/versions.md has every way.",
  });
}

function bodyOf({ path, ...version }: FoundVersion, tree: FileTree, { alias, labels }: FromOptions) {
  return {
    ...version,
    alias: version.alias ?? aliasOfVersionId(version.id) ?? alias,
    labels: { ...version.labels, ...labels, ...tree.labelsOf(path) },
  };
}

function summary({ source, registered, unchanged, revision }: Imported, isDryRun: boolean): string {
  const did = `${count(registered.length, "version", "versions")} from ${source}`;
  const rest = unchanged.length > 0 ? `, ${unchanged.length} unchanged` : "";
  return isDryRun ? `Would register ${did}${rest}.` : `Registered ${did}${rest} (revision ${revision}).`;
}
