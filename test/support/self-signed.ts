/**
 * A certificate for 127.0.0.1 that nobody has signed but itself (X.509 v3, RFC 5280), made anew for each test, so that no
 * key is kept anywhere.
 */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

export interface SelfSigned {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export function selfSigned(nowMs = Date.now()): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from("flagback test")))));
  const serial = der(0x02, Buffer.concat([Buffer.from([0x01]), randomBytes(8)]));
  const validity = sequence(time(nowMs - DAY_MS), time(nowMs + DAY_MS));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const toBeSigned = sequence(VERSION_3, serial, ECDSA_SHA256, name, validity, name, spki, FOR_LOOPBACK);
  const signature = der(0x03, Buffer.concat([Buffer.from([0x00]), sign("sha256", toBeSigned, privateKey)]));
  const base64 = sequence(toBeSigned, ECDSA_SHA256, signature).toString("base64");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

const DAY_MS = 86_400_000;
/** Object identifiers: 2.5.4.3, 1.2.840.10045.4.3.2 and 2.5.29.17. */
const COMMON_NAME = Buffer.from("0603550403", "hex");
const ECDSA_SHA256 = sequence(Buffer.from("06082a8648ce3d040302", "hex"));
const SUBJECT_ALT_NAME = Buffer.from("0603551d11", "hex");
const VERSION_3 = der(0xa0, der(0x02, Buffer.from([2])));
/** The one extension: the address that the certificate is for. */
const FOR_LOOPBACK = der(
  0xa3,
  sequence(sequence(SUBJECT_ALT_NAME, der(0x04, sequence(der(0x87, Buffer.from([127, 0, 0, 1])))))),
);

function time(atMs: number): Buffer {
  return der(0x18, Buffer.from(new Date(atMs).toISOString().replace(/[-:T]|\.\d+/g, "")));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** Tag, length and content (X.690, distinguished encoding rules). */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
