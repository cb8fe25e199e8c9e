/**
 * Whether a runtime answers as its server's documents say, in every way in which it can be asked.
 */
import { isEngaged, resolveAlias } from "@flagback/core/evaluation";
import type { RuntimeAlias, RuntimeDocument, RuntimeFlag, RuntimeKillSwitch, Snapshot } from "@flagback/schemas";
import { FlagdCore } from "@openfeature/flagd-core";
import type { Client, EvaluationContext, Logger } from "@openfeature/server-sdk";
import type { FuzzRuntime } from "./fuzz-runtime.ts";
import { ATTRIBUTES, FLAGS } from "./world.ts";

const SILENT: Logger = { error() {}, warn() {}, info() {}, debug() {} };
const KEYS = Array.from({ length: 60 }, (_, i) => `anybody-${i}`);

/** What the runtime answers otherwise than the snapshot; empty where it is in step. */
export async function differences(runtime: FuzzRuntime, snapshot: Snapshot): Promise<string[]> {
  const found: string[] = [];
  const { provider, client } = runtime;
  if (client.providerStatus !== "READY") found.push(`OpenFeature says ${client.providerStatus}`);
  if (provider.revision !== snapshot.revision) {
    found.push(`it holds revision ${provider.revision}, the server is at ${snapshot.revision}`);
  }
  const missing = FLAGS.filter((key) => !snapshot.documents.some((document) => document.key === key));
  for (const document of snapshot.documents) found.push(...(await differencesIn(runtime, document)));
  for (const key of missing) {
    const { errorCode } = await client.getBooleanDetails(key, false);
    if (errorCode !== "FLAG_NOT_FOUND") found.push(`${key} was deleted and answers ${errorCode}`);
  }
  return found;
}

function differencesIn(runtime: FuzzRuntime, document: RuntimeDocument): Promise<string[]> {
  switch (document.kind) {
    case "alias":
      return inAlias(runtime, document);
    case "killSwitch":
      return inSwitch(runtime, document);
    case "flag":
      return inFlag(runtime, document);
  }
}

async function inAlias({ provider, client }: FuzzRuntime, alias: RuntimeAlias): Promise<string[]> {
  const found: string[] = [];
  for (const targetingKey of [undefined, ...KEYS]) {
    const { version, reason } = resolveAlias(alias, targetingKey, true);
    const details = await client.getStringDetails(
      alias.key,
      "none",
      targetingKey === undefined ? {} : { targetingKey },
    );
    const answers = [
      provider.version(alias.key, targetingKey),
      details.value,
      details.reason,
      details.flagMetadata.revision,
    ];
    const expected = [version, version ?? "none", reason, alias.revision];
    if (answers.join() !== expected.join()) found.push(`${alias.key} for ${targetingKey}: ${answers}, not ${expected}`);
  }
  return found;
}

async function inSwitch({ client }: FuzzRuntime, killSwitch: RuntimeKillSwitch): Promise<string[]> {
  const found: string[] = [];
  for (const attributes of ATTRIBUTES) {
    const expected = isEngaged(killSwitch, attributes);
    const { value, reason, flagMetadata } = await client.getBooleanDetails(killSwitch.key, !expected, attributes);
    if (value !== expected || reason === "STALE" || flagMetadata.revision !== killSwitch.revision) {
      found.push(`${killSwitch.key} for ${JSON.stringify(attributes)}: ${value} ${reason} ${flagMetadata.revision}`);
    }
  }
  return found;
}

/** As flagd's own rules answer, asked for the type that its first variant has. */
async function inFlag({ client }: FuzzRuntime, { key, definition }: RuntimeFlag): Promise<string[]> {
  const flagd = new FlagdCore(undefined, SILENT);
  flagd.setConfigurations(JSON.stringify({ flags: { [key]: definition } }));
  const found: string[] = [];
  for (const targetingKey of KEYS.slice(0, 10)) {
    const context = { targetingKey };
    const [expected, actual] = await answers(client, flagd, key, definition, context);
    if (JSON.stringify(expected.value) !== JSON.stringify(actual.value) || expected.reason !== actual.reason) {
      found.push(
        `${key} for ${targetingKey}: ${actual.value} ${actual.reason}, not ${expected.value} ${expected.reason}`,
      );
    }
  }
  return found;
}

/** A caller's default that no variant has, so that an error shows. */
async function answers(
  client: Client,
  flagd: FlagdCore,
  key: string,
  { variants }: RuntimeFlag["definition"],
  context: EvaluationContext,
) {
  const values = Object.values(variants);
  switch (typeof values[0]) {
    case "boolean":
      return [
        flagd.resolveBooleanEvaluation(key, false, context, SILENT),
        await client.getBooleanDetails(key, false, context),
      ] as const;
    case "string":
      return [
        flagd.resolveStringEvaluation(key, "none", context, SILENT),
        await client.getStringDetails(key, "none", context),
      ] as const;
    case "number":
      return [
        flagd.resolveNumberEvaluation(key, -1, context, SILENT),
        await client.getNumberDetails(key, -1, context),
      ] as const;
    default:
      return [
        flagd.resolveObjectEvaluation(key, { none: true }, context, SILENT),
        await client.getObjectDetails(key, { none: true }, context),
      ] as const;
  }
}
