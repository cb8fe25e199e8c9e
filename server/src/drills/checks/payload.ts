/**
 * Whether a version's payload is still what was registered.
 */
import { type PayloadChecker, payloadProblems, versionDigest } from "@flagback/core";
import { type Alias, Payload, type Version } from "@flagback/schemas";
import { digestOf } from "../../engine/canonical.ts";
import type { Finding } from "./finding.ts";

/** The payload parses, has the digest that it was registered with, and meets the alias's schema. */
export function payloadFinding(
  alias: Pick<Alias, "payloadSchema">,
  version: Pick<Version, "id" | "payload" | "digest">,
  checker: PayloadChecker,
): Finding {
  const { id, payload, digest } = version;
  const parsed = Payload.safeParse(payload);
  if (!parsed.success) {
    return {
      isMet: false,
      why: `the payload of ${id} can't be used: ${parsed.error.issues[0]?.message ?? "it is no JSON"}`,
    };
  }
  const found = versionDigest({ id, payload: parsed.data }, digestOf);
  const [problem] = payloadProblems(alias, { payload: parsed.data }, checker);
  if (found === digest && problem !== undefined) {
    return { isMet: false, why: `the payload of ${id} breaks the alias's payload schema: ${problem}` };
  }
  return found === digest
    ? { isMet: true, why: `the payload of ${id} is as it was registered (digest ${digest.slice(0, 12)})` }
    : {
        isMet: false,
        why: `the payload of ${id} is broken: its digest is ${found.slice(0, 12)}, and ${digest.slice(0, 12)} was registered`,
      };
}
