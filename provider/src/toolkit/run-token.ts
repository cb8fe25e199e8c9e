/**
 * A run as one compact text: `fbrun1_`, a checksum of eight characters against truncation, and base64url of JSON.
 */
import { createHash } from "node:crypto";
import { RunToken } from "@flagback/schemas";
import { MAX_RUN_TOKEN_LENGTH } from "../limits.ts";
import type { RunHost } from "../run-host.ts";
import type { PinRef } from "./pins.ts";

const PREFIX = "fbrun1_";
const CHECKSUM_LENGTH = 8;
const MAX_AGENT_LENGTH = 128;

interface TokenParts {
  readonly runId: string;
  readonly agent: string;
  readonly conversationId: string | undefined;
  readonly targetingKey: string;
  readonly host: RunHost | undefined;
  readonly own: readonly PinRef[];
  /** Those of `own` among them, and before the others. */
  readonly pins: readonly PinRef[];
}

/** At most `MAX_RUN_TOKEN_LENGTH` characters: pins that don't fit are left out, the last ones first, and then the ids. */
export function writeRunToken({ runId, agent, conversationId, targetingKey, host, own, pins }: TokenParts): string {
  const isOwn = new Set(own.map((pin) => pin.alias));
  const token: RunToken = {
    runId,
    // Whoever calls us from JavaScript may have a number for an id.
    agent: String(agent).slice(0, MAX_AGENT_LENGTH),
    ...(conversationId && { conversationId: String(conversationId) }),
    ...(targetingKey !== conversationId && { targetingKey: String(targetingKey) }),
    pins: pins.map((pin) => ({ ...pin, isOwn: isOwn.has(pin.alias) })),
  };
  const whole = wrapped(token);
  if (whole.length <= MAX_RUN_TOKEN_LENGTH) return whole;
  host?.warn("token.full", `a token of ${agent} is too long; it goes without some of its pins or its ids`);
  for (let kept = pins.length - 1; kept >= 0; kept--) {
    const shorter = wrapped({ ...token, pins: token.pins.slice(0, kept) });
    if (shorter.length <= MAX_RUN_TOKEN_LENGTH) return shorter;
  }
  return wrapped({ runId, agent: token.agent, pins: [] });
}

/** What a token says; undefined for none, and for one that can't be used, which is said once. Never throws. */
export function readRunToken(
  text: unknown,
  conversationId: string | undefined,
  host: RunHost | undefined,
): RunToken | undefined {
  if (text === undefined || text === null || text === "") return undefined;
  const token = unwrapped(text);
  if (typeof token === "string") {
    host?.warn("token.invalid", `a run's token can't be used and is ignored: ${token}`);
    return undefined;
  }
  if (conversationId !== undefined && (token.conversationId ?? conversationId) !== conversationId) {
    host?.warn("token.conversation", "a run was given the token of another conversation, which is ignored");
    return undefined;
  }
  return { ...token, targetingKey: token.targetingKey ?? token.conversationId };
}

function wrapped(token: RunToken): string {
  const body = Buffer.from(JSON.stringify(token)).toString("base64url");
  return `${PREFIX}${checksumOf(body)}${body}`;
}

/** The token, or what is wrong with it. */
function unwrapped(text: unknown): RunToken | string {
  if (typeof text !== "string" || !text.startsWith(PREFIX)) return `it does not begin with ${PREFIX}`;
  if (text.length > MAX_RUN_TOKEN_LENGTH) return `it has ${text.length} characters, more than ${MAX_RUN_TOKEN_LENGTH}`;
  const bodyAt = PREFIX.length + CHECKSUM_LENGTH;
  const body = text.slice(bodyAt);
  if (text.slice(PREFIX.length, bodyAt) !== checksumOf(body)) return "it was cut or changed on its way";
  try {
    const parsed = RunToken.safeParse(JSON.parse(Buffer.from(body, "base64url").toString()));
    return parsed.success ? parsed.data : `it says ${parsed.error.issues[0]?.path.join(".")} in another way`;
  } catch {
    return "it holds no JSON";
  }
}

function checksumOf(body: string): string {
  return createHash("sha256").update(body).digest("base64url").slice(0, CHECKSUM_LENGTH);
}
