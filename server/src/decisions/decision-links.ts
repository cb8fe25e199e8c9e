/**
 * Links by which whoever reads an alert answers a decision, without a token. Each is of one decision, one time of asking and
 * one webhook, and signed, so it can't be made up or changed; once the decision is closed it decides nothing any more.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type AskedDecision, FlagbackError, type Role } from "@flagback/schemas";

/** What a link may do is what this role may. */
export const LINK_ROLE: Role = "operator";

/** What a link says beside the decision that it is of. */
export interface LinkClaim {
  readonly round: number;
  /** Id of the webhook that it was sent to. */
  readonly webhook: string;
}

type Linked = Pick<AskedDecision, "id" | "round" | "deadline">;

export class DecisionLinks {
  readonly #base: string;
  readonly #key: string;

  /** @throws FlagbackError `usage` where the address is none that a link can begin with. */
  constructor(publicUrl: string, key: string) {
    this.#base = baseOf(publicUrl);
    this.#key = key;
  }

  urlOf(asked: Linked, webhook: string): string {
    const query = new URLSearchParams({
      round: String(asked.round),
      webhook,
      signature: this.#signatureOf(asked, webhook).toString("base64url"),
    });
    return `${this.#base}/v1/decisions/${asked.id}/link?${query}`;
  }

  /** Whether the signature is of this claim, in constant time. Only for the decision's present time of asking. */
  isSigned(asked: Linked, claim: LinkClaim, signature: string): boolean {
    const given = Buffer.from(signature, "base64url");
    const expected = this.#signatureOf({ ...asked, round: claim.round }, claim.webhook);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  #signatureOf({ id, round }: Linked, webhook: string): Buffer {
    const said = JSON.stringify(["flagback decision link", LINK_ROLE, id, round, webhook]);
    return createHmac("sha256", Buffer.from(this.#key, "hex")).update(said).digest();
  }
}

function baseOf(publicUrl: string): string {
  const url = URL.canParse(publicUrl) ? new URL(publicUrl) : undefined;
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (url && isWeb && url.username + url.password + url.search + url.hash === "") return url.href.replace(/\/$/, "");
  throw new FlagbackError({
    code: "usage",
    message: "--public-url is no web address that a link can begin with.",
    hint: "Give scheme, host and, where there is one, a path, such as https://flags.example.com.",
  });
}
