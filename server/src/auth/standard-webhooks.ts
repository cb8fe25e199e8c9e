/**
 * Signatures of Standard Webhooks (standardwebhooks.com), for alerts that go out and signals that come in. The package makes
 * them; whether one is right is decided here, because the package reads this machine's clock and not the server's.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { Webhook as SigningKey } from "standardwebhooks";

/** How far a signature's time may be from the server's clock: the specification's own tolerance. */
export const SIGNATURE_TOLERANCE_MS = 300_000;
/** Bytes of a new secret, as the specification proposes. */
const SECRET_BYTES = 24;
/** Signatures of one request that are looked at. A sender that changes its secret gives two. */
const MAX_SIGNATURES = 8;

export interface SignedMessage {
  /** The same for each attempt to deliver it. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly atSeconds: number;
  readonly body: string;
}

/** `whsec_` and base64, as receivers' libraries take it. */
export function secretOf(key: Buffer): string {
  return `whsec_${key.toString("base64")}`;
}

export function newSecret(): string {
  return secretOf(randomBytes(SECRET_BYTES));
}

/** The headers of a message, with a signature for each secret. */
export function signedHeaders(message: SignedMessage, secrets: readonly string[]): Record<string, string> {
  return {
    "webhook-id": message.id,
    "webhook-timestamp": String(message.atSeconds),
    "webhook-signature": secrets.map((secret) => signatureOf(message, secret)).join(" "),
  };
}

/** Whether the secret made one of the signatures (`v1,BASE64 v1,BASE64`). Whether its time is near is the caller's to check. */
export function isSignedBy(message: SignedMessage, signatures: string, secret: string): boolean {
  const expected = Buffer.from(signatureOf(message, secret));
  return signatures
    .split(" ", MAX_SIGNATURES)
    .map((signature) => Buffer.from(signature))
    .some((signature) => signature.length === expected.length && timingSafeEqual(signature, expected));
}

function signatureOf({ id, atSeconds, body }: SignedMessage, secret: string): string {
  return new SigningKey(secret).sign(id, new Date(atSeconds * 1_000), body);
}
