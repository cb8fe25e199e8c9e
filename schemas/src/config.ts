/**
 * The configuration file of `flagback apply`, as people write it (YAML or JSON), and the desired state that it means.
 * Both snippets of the seeds parse as they stand: a `rollback:` block and an `aliases:` block.
 */
import * as z from "zod";
import { FailSafe, FlagDefinition, ReleaseVersions, type Slot, VersionKind } from "./documents.ts";
import { MAX_TEXT_LENGTH, TOTAL_WEIGHT } from "./limits.ts";
import { PayloadSchema } from "./payload-schema.ts";
import { type Guardrail, Policy } from "./policy.ts";
import { type Json, Name, Payload, Text, VersionId } from "./primitives.ts";
import { TriggerDefinition } from "./trigger.ts";

/** Thresholds by metric, as the seeds write them. `error_rate_p95` there is the error rate. */
const Triggers = z.record(
  z.string().regex(/^(error_rate|error_rate_p95|tool_failure_rate|latency_p\d{1,2}(\.\d)?_ms)$/),
  z.number().min(0),
);

const RollbackBlock = z.strictObject({
  /** Defaults to the part of `stable_version` before `@`. */
  alias: Name.optional(),
  stable_version: VersionId,
  candidate_version: VersionId.optional(),
  triggers: Triggers,
  lock_candidate_after_rollback: z.boolean().default(true),
});

const ConfigCandidate = z.strictObject({
  id: VersionId,
  /** Kept in the version's payload as `model`. */
  version_pin: z.string().max(MAX_TEXT_LENGTH).optional(),
  /** Percent, up to three decimals. */
  weight: z.number().min(0).max(100).multipleOf(0.001),
});

const ConfigAlias = z.strictObject({
  /** Needed where no candidate has 100 %. */
  stable: VersionId.optional(),
  salt: z.string().min(1).max(128).optional(),
  candidates: z.array(ConfigCandidate).default([]),
  policy: Policy.optional(),
  triggers: Triggers.optional(),
  payloadSchema: PayloadSchema.optional(),
});

const ConfigVersion = z.strictObject({
  id: VersionId,
  alias: Name.optional(),
  kind: VersionKind.default("agent"),
  payload: Payload.default({}),
  labels: z.record(z.string().max(64), z.string().max(256)).default({}),
  notes: Text.default(""),
});

const ConfigRelease = z.strictObject({ versions: ReleaseVersions, notes: Text.default("") });

/** The file. Every block is optional. */
export const ConfigFile = z.strictObject({
  versions: z.array(ConfigVersion).optional(),
  aliases: z.record(Name, ConfigAlias).optional(),
  rollback: RollbackBlock.optional(),
  killSwitches: z.record(Name, z.strictObject({ failSafe: FailSafe })).optional(),
  flags: z.record(Name, FlagDefinition).optional(),
  triggers: z.record(Name, TriggerDefinition).optional(),
  releases: z.record(Name, ConfigRelease).optional(),
});
export type ConfigFile = z.infer<typeof ConfigFile>;
/** The file as people write it. */
export type ConfigInput = z.input<typeof ConfigFile>;

/** The blocks that list documents of one kind: where a file has one, it can answer for all documents of that kind. */
export const CONFIG_BLOCKS = ["versions", "aliases", "killSwitches", "flags", "triggers"] as const;
export type ConfigBlock = (typeof CONFIG_BLOCKS)[number];

/** What is wrong with a file although its schema is met, and where. */
export interface ConfigProblem {
  readonly path: readonly (string | number)[];
  /** A sentence that begins with the path. */
  readonly message: string;
}

/** A version that the file describes (`declared`) or only names. */
export interface DesiredVersion {
  readonly id: string;
  readonly alias: string;
  readonly kind: VersionKind;
  readonly payload: Json;
  readonly labels: Readonly<Record<string, string>>;
  readonly notes: string;
  readonly declared: boolean;
}

export interface DesiredAlias {
  readonly name: string;
  readonly stable?: string;
  readonly salt?: string;
  readonly candidates: readonly string[];
  /** Present where the file gives weights. */
  readonly allocation?: readonly Slot[];
  readonly policy?: Policy;
  readonly payloadSchema?: PayloadSchema;
}

/** What the file asks for, in the words of the documents. */
export interface DesiredState {
  readonly versions: readonly DesiredVersion[];
  readonly aliases: readonly DesiredAlias[];
  readonly killSwitches: ReadonlyMap<string, FailSafe>;
  readonly flags: ReadonlyMap<string, FlagDefinition>;
  readonly triggers: ReadonlyMap<string, TriggerDefinition>;
  readonly releases: ReadonlyMap<string, z.infer<typeof ConfigRelease>>;
  /** Where the file asks for a target such as `alias:support-agent`, as an error says it: `FILE:LINE:COLUMN`. */
  readonly places?: ReadonlyMap<string, string>;
}

/** The alias that a version id names: the part before `@`, where that is a name. */
export function aliasOfVersionId(id: string): string | undefined {
  const at = id.indexOf("@");
  const name = at > 0 ? id.slice(0, at) : undefined;
  return name !== undefined && Name.safeParse(name).success ? name : undefined;
}

/** Turns the file into documents' words. Returns every problem that the schema could not see. */
export function desiredState(file: ConfigFile): {
  readonly state: DesiredState;
  readonly problems: readonly ConfigProblem[];
} {
  const problems: ConfigProblem[] = [];
  const problem = (path: ConfigProblem["path"], message: string) => problems.push({ path, message });
  const versions = new Map<string, DesiredVersion>();
  const aliases = new Map<string, DesiredAlias>();

  for (const [index, version] of (file.versions ?? []).entries()) {
    const alias = version.alias ?? aliasOfVersionId(version.id);
    const path = ["versions", index];
    if (alias === undefined)
      problem(path, `versions: ${version.id} needs an alias, because its id has no name before an @`);
    else if (versions.has(version.id)) problem(path, `versions: ${version.id} is listed twice`);
    else versions.set(version.id, { ...version, alias, declared: true });
  }
  const mention = (id: string, alias: string, payload: Json, kind: DesiredVersion["kind"], declared: boolean) => {
    if (!versions.has(id)) versions.set(id, { id, alias, kind, payload, labels: {}, notes: "", declared });
  };

  for (const [name, alias] of Object.entries(file.aliases ?? {})) {
    for (const candidate of alias.candidates) {
      const pin = candidate.version_pin;
      mention(
        candidate.id,
        name,
        pin === undefined ? {} : { model: pin },
        pin === undefined ? "agent" : "model",
        pin !== undefined,
      );
    }
    if (alias.stable !== undefined) mention(alias.stable, name, {}, "agent", false);
    const allocation = alias.candidates.map((candidate) => ({
      version: candidate.id,
      weight: Math.round((candidate.weight * TOTAL_WEIGHT) / 100),
    }));
    const sum = allocation.reduce((total, slot) => total + slot.weight, 0);
    const weighted = allocation.length > 0 && !(sum === 0 && alias.stable !== undefined);
    if (weighted && sum !== TOTAL_WEIGHT) {
      problem(
        ["aliases", name, "candidates"],
        `aliases.${name}.candidates: the weights sum to ${sum / 1_000} %, not 100 %`,
      );
    }
    const whole = allocation.find((slot) => slot.weight === TOTAL_WEIGHT)?.version;
    const stable = alias.stable ?? whole;
    if (stable === undefined && allocation.length > 0) {
      problem(
        ["aliases", name],
        `aliases.${name}: no version has 100 %; say which one is stable with "stable: VERSION"`,
      );
    }
    if (alias.policy && alias.triggers)
      problem(["aliases", name, "triggers"], `aliases.${name}: give policy or triggers, not both`);
    aliases.set(name, {
      name,
      stable,
      salt: alias.salt,
      candidates: allocation.map((slot) => slot.version).filter((version) => version !== stable),
      allocation: weighted ? allocation : undefined,
      policy: alias.policy ?? (alias.triggers && Policy.parse({ guardrails: guardrailsOf(alias.triggers) })),
      ...(alias.payloadSchema === undefined ? {} : { payloadSchema: alias.payloadSchema }),
    });
  }

  if (file.rollback) {
    const block = file.rollback;
    const name = block.alias ?? aliasOfVersionId(block.stable_version);
    if (name === undefined) {
      problem(
        ["rollback", "stable_version"],
        `rollback: say which alias is meant with "alias: NAME"; ${block.stable_version} has no name before an @`,
      );
    } else {
      mention(block.stable_version, name, {}, "agent", false);
      if (block.candidate_version) mention(block.candidate_version, name, {}, "agent", false);
      if (block.candidate_version === block.stable_version) {
        problem(
          ["rollback", "candidate_version"],
          "rollback: candidate_version is the stable version; a rollout needs two",
        );
      }
      const before = aliases.get(name);
      const policy = Policy.parse({
        guardrails: guardrailsOf(block.triggers),
        lockCandidate: block.lock_candidate_after_rollback,
      });
      aliases.set(name, {
        ...before,
        name,
        stable: block.stable_version,
        candidates: [
          ...new Set([...(before?.candidates ?? []), ...(block.candidate_version ? [block.candidate_version] : [])]),
        ],
        policy,
      });
    }
  }

  return {
    problems,
    state: {
      versions: [...versions.values()],
      aliases: [...aliases.values()],
      killSwitches: new Map(Object.entries(file.killSwitches ?? {}).map(([key, value]) => [key, value.failSafe])),
      flags: new Map(Object.entries(file.flags ?? {})),
      triggers: new Map(Object.entries(file.triggers ?? {})),
      releases: new Map(Object.entries(file.releases ?? {})),
    },
  };
}

function guardrailsOf(triggers: Readonly<Record<string, number>>): Pick<Guardrail, "metric" | "max">[] {
  return Object.entries(triggers).map(([metric, max]) => ({
    metric: metric === "error_rate_p95" ? "error_rate" : metric,
    max,
  }));
}
