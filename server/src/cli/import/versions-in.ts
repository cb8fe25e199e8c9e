/**
 * Which versions the files of a folder describe. Names say it:
 *
 * - `support-agent@2.4.0.md` or `.txt`: a prompt; its payload is `{"prompt": TEXT}`.
 * - `support-agent@2.4.0.yaml` or `.json`: what `POST /v1/versions` takes, without the id. A file of another name is one
 *   where it has both `id` and `payload`.
 * - `support-agent@2.4.0/`: each file is a part of the payload under its name: texts as they are, YAML and JSON as values.
 *   `version.yaml` has kind, labels and notes, and may have more of the payload.
 *
 * Pure.
 */
import { aliasOfVersionId, type Json, RegisterVersionBody, VersionId } from "@flagback/schemas";
import { describeProblems } from "../../config/problems.ts";

export interface FoundVersion extends RegisterVersionBody {
  /** Of the file or folder that describes it. */
  readonly path: string;
}

export interface FoundVersions {
  readonly versions: readonly FoundVersion[];
  /** Paths of files that describe none. */
  readonly ignored: readonly string[];
  /** Each in a sentence that names the file. */
  readonly problems: readonly string[];
}

/** Reads YAML, of which JSON is a part. */
export type ReadYaml = (text: string) => unknown;

const KNOWN = /^(.+)\.(md|txt|yaml|yml|json)$/;

export function versionsIn(files: ReadonlyMap<string, string>, readYaml: ReadYaml): FoundVersions {
  const drafts: Draft[] = [];
  const ignored: string[] = [];
  const problems: string[] = [];
  const folders = new Map<string, Map<string, string>>();
  for (const [path, text] of files) {
    const place = placeOf(path);
    try {
      if (place.kind === "part") folders.set(place.folder, (folders.get(place.folder) ?? new Map()).set(path, text));
      else {
        const draft = place.kind === "file" ? ofFile(path, place, text, readYaml) : undefined;
        if (draft) drafts.push(draft);
        else ignored.push(path);
      }
    } catch (error) {
      problems.push(`${path}: ${messageOf(error)}`);
    }
  }
  for (const [folder, parts] of folders) {
    const { draft, problems: found } = ofFolder(folder, parts, readYaml);
    drafts.push(draft);
    problems.push(...found);
  }
  const versions = drafts.flatMap((draft) => checked(draft, problems));
  return { versions, ignored, problems: [...problems, ...twice(versions)] };
}

interface Draft {
  readonly path: string;
  /** The id that the name says; undefined where it says none. */
  readonly named: string | undefined;
  readonly body: unknown;
}

type Place =
  | { readonly kind: "file"; readonly stem: string; readonly extension: string }
  /** A file directly in a version's folder. */
  | { readonly kind: "part"; readonly folder: string }
  | { readonly kind: "other" };

function placeOf(path: string): Place {
  const parts = path.split("/");
  const name = parts.pop() ?? "";
  const index = parts.findIndex(isVersionName);
  const [, stem, extension] = KNOWN.exec(name) ?? [];
  if (stem === undefined || extension === undefined) return { kind: "other" };
  if (index === -1) return { kind: "file", stem, extension };
  return index === parts.length - 1 ? { kind: "part", folder: parts.join("/") } : { kind: "other" };
}

function isVersionName(name: string): boolean {
  return aliasOfVersionId(name) !== undefined && VersionId.safeParse(name).success;
}

function ofFile(
  path: string,
  { stem, extension }: Extract<Place, { kind: "file" }>,
  text: string,
  readYaml: ReadYaml,
): Draft | undefined {
  const named = isVersionName(stem) ? stem : undefined;
  if (isText(extension)) {
    return named === undefined
      ? undefined
      : { path, named, body: { kind: "prompt", payload: { prompt: plain(text) } } };
  }
  // Whether a file of any name is a version its content says; what can't be read is then no version, and not our concern.
  const value = named === undefined ? readable(readYaml, text) : readYaml(text);
  const isVersion = named !== undefined || (isObject(value) && "id" in value && "payload" in value);
  return isVersion ? { path, named, body: value } : undefined;
}

function ofFolder(
  folder: string,
  parts: ReadonlyMap<string, string>,
  readYaml: ReadYaml,
): { readonly draft: Draft; readonly problems: readonly string[] } {
  const payload: Record<string, Json> = {};
  const problems: string[] = [];
  let described: Readonly<Record<string, unknown>> = {};
  let isAllText = true;
  const put = (path: string, key: string, value: Json) => {
    if (Object.hasOwn(payload, key)) problems.push(`${path}: another file or version.yaml gives ${key} as well`);
    else if (key === "__proto__") problems.push(`${path}: __proto__ can't be a key`);
    else payload[key] = value;
  };
  for (const [path, text] of parts) {
    const [, stem = "", extension = ""] = KNOWN.exec(path.slice(folder.length + 1)) ?? [];
    try {
      if (isText(extension)) put(path, stem, plain(text));
      else if (stem !== "version") {
        isAllText = false;
        put(path, stem, readYaml(text) as Json);
      } else {
        const value = readYaml(text) ?? {};
        if (isObject(value)) described = value;
        else problems.push(`${path}: has to be an object with kind, labels, notes or payload`);
      }
    } catch (error) {
      problems.push(`${path}: ${messageOf(error)}`);
    }
  }
  const more = described.payload ?? {};
  if (isObject(more)) for (const [key, value] of Object.entries(more)) put(folder, key, value as Json);
  else problems.push(`${folder}: the payload in version.yaml has to be an object, because the files are its parts`);
  const kind = isAllText && described.payload === undefined ? { kind: "prompt" } : {};
  return { draft: { path: folder, named: nameOf(folder), body: { ...kind, ...described, payload } }, problems };
}

/** A draft as the server takes it, or nothing and why. */
function checked({ path, named, body }: Draft, problems: string[]): FoundVersion[] {
  const id = isObject(body) ? (body.id ?? named) : named;
  if (named !== undefined && id !== named) {
    problems.push(`${path}: says id ${String(id)}, and is named ${named}`);
    return [];
  }
  const parsed = RegisterVersionBody.safeParse(isObject(body) ? { ...body, id } : body);
  if (parsed.success) return [{ ...parsed.data, path }];
  problems.push(...describeProblems(parsed.error.issues, RegisterVersionBody).map((problem) => `${path}: ${problem}`));
  return [];
}

function twice(versions: readonly FoundVersion[]): string[] {
  const first = new Map<string, string>();
  return versions.flatMap(({ id, path }) => {
    const before = first.get(id);
    if (before === undefined) first.set(id, path);
    return before === undefined ? [] : [`${path}: ${id} is described by ${before} too`];
  });
}

/** Line ends as Unix has them and none at the end, so that an editor's habit or a checkout's setting makes no other digest. */
function plain(text: string): string {
  return text
    .replace(/^\uFEFF/, "")
    .replaceAll("\r\n", "\n")
    .replace(/\n$/, "");
}

function readable(readYaml: ReadYaml, text: string): unknown {
  try {
    return readYaml(text);
  } catch {
    return undefined;
  }
}

function isText(extension: string): boolean {
  return extension === "md" || extension === "txt";
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function messageOf(error: unknown): string {
  return (error as Error).message.replace(/\.$/, "");
}
