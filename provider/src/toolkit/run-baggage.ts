/**
 * A run in a `baggage` header, so that a run in another process becomes part of it. One member for each thing that is said,
 * readable in a trace:
 *
 *     flagback.run=r-1,flagback.agents=support-agent,flagback.conversation=c-7,
 *     flagback.pin.support-agent=support-agent%402.4.0;revision=12,flagback.scope.tenant=acme
 */
import { Name, Revision, VersionId } from "@flagback/schemas";
import type { EvaluationContext } from "@openfeature/core";
import { MAX_BAGGAGE_SCOPE_ATTRIBUTES, MAX_BAGGAGE_VALUE_LENGTH } from "../limits.ts";
import { isRunId } from "../outcomes/outcome.ts";
import type { RunHost } from "../run-host.ts";
import type { PinRef } from "./pins.ts";
import {
  type BaggageMember,
  formatMember,
  isBaggageKey,
  joinMembers,
  parseBaggage,
  percentDecoded,
  percentEncoded,
} from "./w3c-baggage.ts";

const OURS = "flagback.";
const PIN = "flagback.pin.";
const SCOPE = "flagback.scope.";
/** Said by members of their own. */
const IDS: ReadonlySet<string> = new Set(["agent", "targetingKey", "conversationId", "userId"]);

/** The run in another process that a request's baggage speaks of. */
export interface CallingRun {
  readonly runId: string | undefined;
  /** The agents that act in it: the outermost first. */
  readonly agents: readonly string[];
  readonly targetingKey: string | undefined;
  readonly conversationId: string | undefined;
  readonly attributes: EvaluationContext;
  readonly pins: readonly PinRef[];
  /** Members that are somebody else's, as they stood. */
  readonly foreignBaggage: readonly string[];
}

type BaggageParts = Omit<CallingRun, "pins" | "runId" | "targetingKey"> & {
  readonly runId: string;
  readonly targetingKey: string;
  readonly pins: readonly PinRef[];
  readonly host: RunHost | undefined;
};

/** The header's value: within the specification's limits, with what is somebody else's at its end. */
export function writeRunBaggage(run: BaggageParts): string {
  const { runId, agents, targetingKey, conversationId, attributes, pins, foreignBaggage, host } = run;
  const { header, leftOut } = joinMembers([
    formatMember(`${OURS}run`, runId),
    formatMember(`${OURS}agents`, agents.map(percentEncoded).join("/")),
    ...(conversationId === undefined ? [] : [formatMember(`${OURS}conversation`, conversationId)]),
    ...(targetingKey === conversationId ? [] : [formatMember(`${OURS}key`, targetingKey)]),
    ...pins.map(({ alias, version, revision }) => formatMember(PIN + alias, version, { revision: `${revision}` })),
    ...scopeOf(attributes).map(([name, value]) => formatMember(SCOPE + name, value)),
    ...foreignBaggage,
  ]);
  if (leftOut > 0) host?.warn("baggage.full", `${leftOut} members of a run's baggage had no room and are left out`);
  return header;
}

/**
 * The run that a header speaks of; undefined where it speaks of none. What can't be read is left out and said once; it never
 * throws. Whoever writes the header may write anything: pins are checked before they are used.
 */
export function readRunBaggage(
  header: string | readonly string[] | null | undefined,
  host: RunHost | undefined,
): CallingRun | undefined {
  if (header === undefined || header === null) return undefined;
  const { members, problems } = parseBaggage(String(header));
  const run: Reading = {
    runId: undefined,
    agents: [],
    targetingKey: undefined,
    conversationId: undefined,
    attributes: {},
    pins: [],
    foreignBaggage: [],
  };
  const refused = members.filter((member) => !take(run, member)).map(({ key }) => `${key} has no value of its kind`);
  const [problem] = [...problems, ...refused];
  if (problem !== undefined)
    host?.warn("baggage.invalid", `what can't be read of a baggage header is ignored: ${problem}`);
  const isOurs = members.length > run.foreignBaggage.length + refused.length;
  return isOurs ? { ...run, targetingKey: run.targetingKey ?? run.conversationId } : undefined;
}

/** As it is put together. */
interface Reading {
  runId: string | undefined;
  agents: string[];
  targetingKey: string | undefined;
  conversationId: string | undefined;
  attributes: EvaluationContext;
  readonly pins: PinRef[];
  readonly foreignBaggage: string[];
}

/** Takes one member in; the first of several. False where it can't be one of ours. */
function take(run: Reading, { key, value, properties, text }: BaggageMember): boolean {
  if (!key.startsWith(OURS)) {
    run.foreignBaggage.push(text);
    return true;
  }
  if (key.startsWith(PIN)) {
    const pin = { alias: key.slice(PIN.length), version: value, revision: Number(properties.get("revision")) };
    const isPin = Name.safeParse(pin.alias).success && VersionId.safeParse(value).success;
    if (!isPin || !Revision.safeParse(pin.revision).success) return false;
    run.pins.push(pin);
    return true;
  }
  if (value === "" || value.length > MAX_BAGGAGE_VALUE_LENGTH) return false;
  if (key.startsWith(SCOPE)) {
    const name = key.slice(SCOPE.length);
    if (!IDS.has(name)) run.attributes = { [name]: value, ...run.attributes };
    return true;
  }
  switch (key.slice(OURS.length)) {
    case "run":
      if (!isRunId(value)) return false;
      run.runId ??= value;
      return true;
    case "agents":
      if (run.agents.length === 0)
        run.agents = value
          .split("/")
          .map(percentDecoded)
          .filter((agent) => agent !== "");
      return true;
    case "conversation":
      run.conversationId ??= value;
      return true;
    case "key":
      run.targetingKey ??= value;
      return true;
    default:
      // Of a later version.
      return true;
  }
}

/** Attributes that a header can carry: plain values, few and short. They arrive as texts. */
function scopeOf(attributes: EvaluationContext): readonly (readonly [string, string])[] {
  return Object.entries(attributes)
    .flatMap(([name, value]) => (isPlain(value) && !IDS.has(name) ? [[name, String(value)] as const] : []))
    .filter(([name, value]) => isBaggageKey(name) && value !== "" && value.length <= MAX_BAGGAGE_VALUE_LENGTH)
    .slice(0, MAX_BAGGAGE_SCOPE_ATTRIBUTES);
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
