/**
 * From what a test says there is to documents as a server would send them. Pure.
 */
import { createHash } from "node:crypto";
import { wholeAllocation, withWeight } from "@flagback/core";
import type { Documents } from "@flagback/core/evaluation";
import {
  DEFAULT_KILL_SWITCH,
  FlagbackError,
  type FlagDefinition,
  type RuntimeAlias,
  RuntimeDocument,
  type RuntimeFlag,
  type RuntimeKillSwitch,
  TOTAL_WEIGHT,
} from "@flagback/schemas";
import type { JsonValue } from "@openfeature/core";
import type { AliasKey, KillSwitchKey } from "../keys.ts";

/** What there is. A kill switch `writes_disabled`, released, is always there, as in every database. */
export interface TestFlags {
  /** Aliases by name: what they serve, or the id of the version that they serve to everybody. */
  readonly aliases?: Readonly<Partial<Record<AliasKey, TestAlias | string>>>;
  /** More kill switches. New ones are released, the others stay as they are. */
  readonly killSwitches?: readonly KillSwitchKey[];
  /** Any other flag by its key, with the value that everybody gets. */
  readonly flags?: Readonly<Record<string, JsonValue>>;
  /** Flags with rules, in flagd's format. */
  readonly definitions?: Readonly<Record<string, FlagDefinition>>;
}

export interface TestAlias extends Partial<Pick<RuntimeAlias, "onLeaseLapse" | "stickiness">> {
  readonly stable: string;
  /** A version under rollout. */
  readonly candidate?: string;
  /** The candidate's share of the targeting keys, up to three decimals. Default 100; a run without a key gets stable. */
  readonly percent?: number;
  /** Stage of the rollout. Default `canary`. */
  readonly stage?: string;
  /** What the versions deliver, by their id. Default `{}`. */
  readonly payloads?: Readonly<Record<string, JsonValue>>;
}

const OUTCOME_TIMEOUT_MS = 60_000;

/**
 * The documents that are different from those held, as of the revision.
 * @throws FlagbackError `usage` that names everything that no server would accept
 */
export function documentsOfTest(flags: TestFlags, held: Documents, revision: number): readonly RuntimeDocument[] {
  // Documents are frozen when they are served, and a test may go on with its own objects.
  const { aliases = {}, killSwitches = [], flags: values = {}, definitions = {} } = structuredClone(flags);
  const named = Object.entries<TestAlias | string | undefined>(aliases).flatMap(([key, alias]) =>
    alias === undefined ? [] : [[key, typeof alias === "string" ? { stable: alias } : alias] as const],
  );
  const documents = [
    ...named.map(([key, alias]) => aliasDocument(key, alias, revision)),
    ...[...new Set([DEFAULT_KILL_SWITCH, ...killSwitches])].map((key) => switchDocument(key, held, revision)),
    ...Object.entries(values).map(([key, value]) => flagDocument(key, alwaysOf(value), revision)),
    ...Object.entries(definitions).map(([key, definition]) => flagDocument(key, definition, revision)),
  ];
  const problems = [
    ...named.flatMap(([key, alias]) => aliasProblems(key, alias)),
    ...documentProblems(documents, held),
  ];
  if (problems.length > 0) throw badFlags(problems);
  return documents.filter((document) => !isSame(document, held.get(document.key)));
}

/** What a server's configuration could not say. */
function aliasProblems(key: string, { stable, candidate, percent = 0, payloads = {} }: TestAlias): string[] {
  const strangers = Object.keys(payloads).filter((id) => id !== stable && id !== candidate);
  return [
    ...(isShare(percent) ? [] : [`${key}: percent is ${percent}, not 0 to 100 with at most three decimals`]),
    ...(candidate === undefined && percent > 0
      ? [`${key}: percent says what a candidate gets, and there is none`]
      : []),
    ...(candidate === stable ? [`${key}: the candidate is the stable version; a rollout needs two`] : []),
    ...strangers.map((id) => `${key}: payloads names ${id}, which is neither stable nor the candidate`),
  ];
}

function documentProblems(documents: readonly RuntimeDocument[], held: Documents): string[] {
  const keys = new Set<string>();
  return documents.flatMap((document) => {
    const { key, kind } = document;
    const isTaken = keys.has(key) || (held.get(key)?.kind ?? kind) !== kind;
    keys.add(key);
    const issues = RuntimeDocument.safeParse(document).error?.issues ?? [];
    return [
      ...(isTaken ? [`${key} is there already; each key is one flag to OpenFeature`] : []),
      ...issues.map(({ path, message }) => `${key}: ${path.join(".")}: ${message}`),
    ];
  });
}

function aliasDocument(key: string, alias: TestAlias, revision: number): RuntimeAlias {
  const { stable, candidate, stage = "canary", payloads = {} } = alias;
  const weight = candidateWeight(alias);
  const served = [stable, ...(candidate !== undefined && weight > 0 ? [candidate] : [])];
  return {
    kind: "alias",
    key,
    revision,
    salt: key,
    allocation:
      candidate === undefined || weight === 0
        ? wholeAllocation(stable)
        : withWeight(wholeAllocation(stable), stable, candidate, weight),
    stable,
    versions: Object.fromEntries(served.map((id) => [id, versionOf(id, payloads[id] ?? {})])),
    rollout: candidate === undefined ? null : { rolloutNumber: 1, candidate, stage },
    revoked: {},
    outcomeTimeoutMs: OUTCOME_TIMEOUT_MS,
    onLeaseLapse: alias.onLeaseLapse ?? "stable",
    ...(alias.stickiness && { stickiness: alias.stickiness }),
  };
}

/** In thousandths of a percent; 0 where the alias has a problem. */
function candidateWeight({ stable, candidate, percent = 100 }: TestAlias): number {
  return candidate === undefined || candidate === stable || !isShare(percent) ? 0 : weightOf(percent);
}

function isShare(percent: number): boolean {
  return percent >= 0 && percent <= 100 && Number.isInteger(weightOf(percent));
}

/** In thousandths of a percent; a whole number where the percentage has at most three decimals. */
function weightOf(percent: number): number {
  return Number(((percent * TOTAL_WEIGHT) / 100).toFixed(6));
}

/** The digest stands for the version: nothing compares it with a server's. */
function versionOf(id: string, payload: JsonValue): RuntimeAlias["versions"][string] {
  const hash = createHash("sha256").update(`${id} ${JSON.stringify(payload)}`);
  return { payload, digest: hash.digest("hex") };
}

function switchDocument(key: string, held: Documents, revision: number): RuntimeKillSwitch {
  const before = held.get(key);
  if (before?.kind === "killSwitch") return before;
  return { kind: "killSwitch", key, revision, engaged: [], failSafe: { engage: true, afterMs: 0 } };
}

function flagDocument(key: string, definition: FlagDefinition, revision: number): RuntimeFlag {
  return { kind: "flag", key, revision, definition };
}

function alwaysOf(value: JsonValue): FlagDefinition {
  return { state: "ENABLED", variants: { always: value }, defaultVariant: "always" };
}

/** Whether a document says the same, whenever it changed last. */
function isSame(document: RuntimeDocument, held: RuntimeDocument | undefined): boolean {
  return (
    held !== undefined && JSON.stringify({ ...document, revision: 0 }) === JSON.stringify({ ...held, revision: 0 })
  );
}

export function badFlags(problems: readonly string[]): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: `TestProvider can't use this: ${problems.join("; ")}.`,
    hint: 'Write new TestProvider({ aliases: { "support-agent": { stable: "support-agent@1" } } }).',
    problems,
  });
}
