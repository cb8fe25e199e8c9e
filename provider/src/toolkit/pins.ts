/**
 * The versions of one run: each alias is asked for once and then kept. A version can also come along: from the run around
 * this one, from the process that called it (baggage), or from the conversation's last run (its token).
 */
import type { Revoke } from "@flagback/schemas";
import type { EvaluationDetails, JsonValue } from "@openfeature/core";
import type { KeptVersion, RunHost } from "../run-host.ts";

/** A version that a run was handed, once, at its first `pin` of the alias. */
export interface Pin {
  readonly alias: string;
  /** The version's id, or the caller's fallback. */
  readonly version: string;
  readonly payload: JsonValue | undefined;
  /** `stable`, `candidate` or `other`; undefined for the fallback and for a flag that is no alias. */
  readonly role: string | undefined;
  readonly stage: string | undefined;
  /** OpenFeature's reason. `TARGETING_MATCH`: the version came along and was kept. */
  readonly reason: string | undefined;
  /** Revision of the alias that it was served from; 0 for the fallback. */
  readonly revision: number;
  /** True when flagback could not answer and the caller's fallback is used. Such runs never count against a version. */
  readonly isDefault: boolean;
}

/** A version that another run was handed. */
export interface PinRef {
  readonly alias: string;
  readonly version: string;
  /** Revision of the alias that it was served from. */
  readonly revision: number;
}

export interface PinParts {
  readonly host: RunHost | undefined;
  readonly targetingKey: string;
  /** The run around this one, in this process. */
  readonly outer: RunPins | undefined;
  /** What the run in another process has, that this one is part of. */
  readonly inherited: readonly PinRef[];
  /** What the conversation's last run had. */
  readonly conversation: readonly PinRef[];
  readonly resolve: (alias: string, fallback: string) => Promise<EvaluationDetails<string>>;
  /** This run was handed a version of its own: it has to account for it. */
  readonly onOwn: (pin: Pin) => void;
}

export class RunPins {
  readonly #parts: PinParts;
  /** Asked for by this run and not taken from the one around it. */
  readonly #asked = new Map<string, Promise<Pin>>();
  readonly #own: Pin[] = [];

  constructor(parts: PinParts) {
    this.#parts = parts;
  }

  get(alias: string, fallback: string): Promise<Pin> {
    const known = this.#find(alias);
    if (known !== undefined) return known;
    const pinning = this.#pin(alias, fallback);
    this.#asked.set(alias, pinning);
    return pinning;
  }

  /**
   * A version that was revoked in one of these ways, of those that the run and the runs around it stand on: what is taken
   * from them is taken from the run that works for them.
   */
  revoked(...ways: readonly Revoke[]): string | undefined {
    const { host, inherited, outer } = this.#parts;
    const isRevoked = ({ alias, version }: PinRef) => {
      const way = host?.revocationOf(alias, version);
      return way !== undefined && ways.includes(way);
    };
    const own = this.#own.find((pin) => !pin.isDefault && isRevoked(pin)) ?? inherited.find(isRevoked);
    return own?.version ?? outer?.revoked(...ways);
  }

  /** Versions that this run was handed itself, and so accounts for. */
  own(): readonly PinRef[] {
    return this.#own.filter(isOfAlias).map(refOf);
  }

  /** One version for each alias: what a run keeps that is part of this one. */
  inForce(): readonly PinRef[] {
    const { outer, inherited } = this.#parts;
    return byAlias([...this.own(), ...(outer?.inForce() ?? []), ...inherited]);
  }

  /** One version for each alias: what the conversation's next run may keep, also of aliases that this one did not ask for. */
  forConversation(): readonly PinRef[] {
    return byAlias([...this.inForce(), ...this.#parts.conversation]);
  }

  #find(alias: string): Promise<Pin> | undefined {
    const { host, outer } = this.#parts;
    const asked = this.#asked.get(alias);
    if (asked !== undefined || outer === undefined) return asked;
    // Another provider's aliases are others, whatever their names.
    return outer.#parts.host === host ? outer.#find(alias) : undefined;
  }

  async #pin(alias: string, fallback: string): Promise<Pin> {
    const { inherited, conversation, onOwn } = this.#parts;
    // Whoever called us has announced it, and reports it.
    const called = this.#kept(inherited, alias);
    if (called) return pinOf(alias, called);
    const kept = this.#kept(conversation, alias);
    const pin = kept?.isSticky ? pinOf(alias, kept) : await this.#resolve(alias, fallback);
    this.#own.push(pin);
    onOwn(pin);
    return pin;
  }

  #kept(refs: readonly PinRef[], alias: string): (KeptVersion & { readonly version: string }) | undefined {
    const ref = refs.find((each) => each.alias === alias);
    const kept = ref && this.#parts.host?.keep(alias, ref.version);
    return kept && { ...kept, version: ref.version };
  }

  async #resolve(alias: string, fallback: string): Promise<Pin> {
    const { host, targetingKey } = this.#parts;
    const details = await this.#parts.resolve(alias, fallback);
    const isDefault = details.errorCode !== undefined || details.variant === undefined;
    const { role, stage, revision } = details.flagMetadata;
    return Object.freeze({
      alias,
      version: details.value,
      payload: isDefault ? undefined : host?.payloadOf(alias, details.value, targetingKey),
      role: typeof role === "string" ? role : undefined,
      stage: typeof stage === "string" ? stage : undefined,
      reason: details.reason,
      revision: isDefault || typeof revision !== "number" ? 0 : revision,
      isDefault,
    });
  }
}

/** Only an alias has runs to account for; it is told by its role. */
export function isOfAlias({ isDefault, role }: Pin): boolean {
  return !isDefault && role !== undefined;
}

function pinOf(alias: string, { version, payload, role, stage, reason, revision }: KeptVersion & { version: string }) {
  return Object.freeze({ alias, version, payload, role, stage, reason, revision, isDefault: false });
}

function refOf({ alias, version, revision }: PinRef): PinRef {
  return { alias, version, revision };
}

/** The first of each alias. */
function byAlias(refs: readonly PinRef[]): readonly PinRef[] {
  const first = new Map<string, PinRef>();
  for (const ref of refs) if (!first.has(ref.alias)) first.set(ref.alias, ref);
  return [...first.values()];
}
