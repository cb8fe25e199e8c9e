/**
 * Several files as one configuration. What two of them ask for is a problem: which of them should win nobody could say.
 */
import type { ConfigFile } from "@flagback/schemas";
import type { Source } from "./source.ts";

export interface ParsedFile {
  readonly file: ConfigFile;
  readonly source: Source;
}

export interface MergedFiles {
  readonly file: ConfigFile;
  readonly problems: readonly string[];
  /** Where a part of the whole stands in its file. */
  placeOf(path: readonly PropertyKey[]): string;
}

export function mergeFiles(files: readonly ParsedFile[]): MergedFiles {
  const problems: string[] = [];
  /** By block and key, the source and the path of what stands there. */
  const origins = new Map<string, { readonly source: Source; readonly path: readonly PropertyKey[] }>();
  const claim = (block: string, key: PropertyKey, source: Source, path: readonly PropertyKey[]): boolean => {
    const name = originName(block, key);
    const other = origins.get(name);
    if (!other) origins.set(name, { source, path });
    else problems.push(`${source.placeOf(path)}: ${path.join(".")} is in ${other.source.placeOf(other.path)}, too`);
    return other === undefined;
  };
  const records = <Value>(
    block: string,
    recordOf: (file: ConfigFile) => Readonly<Record<string, Value>> | undefined,
  ) => {
    const having = files.flatMap(({ file, source }) => ({ record: recordOf(file), source }));
    const entries = having.flatMap(({ record, source }) =>
      Object.entries(record ?? {}).filter(([key]) => claim(block, key, source, [block, key])),
    );
    return having.some(({ record }) => record !== undefined) ? Object.fromEntries(entries) : undefined;
  };

  const versions = files.flatMap(({ file, source }) =>
    (file.versions ?? []).map((version, index) => ({ version, source, index })),
  );
  for (const [index, each] of versions.entries()) claim("versions", index, each.source, ["versions", each.index]);
  const hasVersions = files.some(({ file }) => file.versions !== undefined);
  const rollbacks = files.filter(({ file }) => file.rollback !== undefined);
  for (const { source } of rollbacks) claim("rollback", "", source, ["rollback"]);

  const file: ConfigFile = {
    versions: hasVersions ? versions.map(({ version }) => version) : undefined,
    aliases: records("aliases", (each) => each.aliases),
    rollback: rollbacks[0]?.file.rollback,
    killSwitches: records("killSwitches", (each) => each.killSwitches),
    flags: records("flags", (each) => each.flags),
    triggers: records("triggers", (each) => each.triggers),
    releases: records("releases", (each) => each.releases),
  };
  const placeOf = ([block = "", ...rest]: readonly PropertyKey[]) => {
    const isWhole = block === "rollback";
    const origin = origins.get(originName(String(block), isWhole ? "" : (rest[0] ?? "")));
    return origin?.source.placeOf([...origin.path, ...(isWhole ? rest : rest.slice(1))]) ?? "";
  };
  return { file, problems, placeOf };
}

function originName(block: string, key: PropertyKey): string {
  return `${block}\n${String(key)}`;
}
