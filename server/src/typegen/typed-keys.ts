/**
 * The keys that a project's code may use, by what they are read as.
 */
import type { FlagDefinition, Json } from "@flagback/schemas";

/** The types that OpenFeature reads a flag as. */
export const FLAG_TYPES = ["boolean", "string", "number", "object"] as const;
export type FlagType = (typeof FLAG_TYPES)[number];

/** Each list is sorted by code unit and has no key twice. */
export interface TypedKeys {
  readonly aliases: readonly string[];
  readonly killSwitches: readonly string[];
  /** Flags that are neither, by the types of their variants; a flag of mixed types is in several. */
  readonly flags: Readonly<Record<FlagType, readonly string[]>>;
}

export function typedKeys(documents: {
  readonly aliases: Iterable<string>;
  readonly killSwitches: Iterable<string>;
  readonly flags: Iterable<readonly [key: string, definition: FlagDefinition]>;
}): TypedKeys {
  const flags: Record<FlagType, string[]> = { boolean: [], string: [], number: [], object: [] };
  for (const [key, { variants }] of documents.flags) {
    for (const type of new Set(Object.values(variants).map(typeOf))) if (type) flags[type].push(key);
  }
  return {
    aliases: sorted(documents.aliases),
    killSwitches: sorted(documents.killSwitches),
    flags: {
      boolean: sorted(flags.boolean),
      string: sorted(flags.string),
      number: sorted(flags.number),
      object: sorted(flags.object),
    },
  };
}

/** Nothing reads null. */
function typeOf(value: Json): FlagType | undefined {
  return value === null ? undefined : FLAG_TYPES.find((type) => type === typeof value);
}

function sorted(keys: Iterable<string>): readonly string[] {
  return [...new Set(keys)].sort();
}
