/**
 * Who fires a trigger: the holder of a token that was made for it, shown as bearer (Alertmanager, Datadog) or as a password, or
 * used to sign the body by Standard Webhooks. A signature's time must be near, so that what was overheard is soon worthless.
 */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { FlagbackError } from "@flagback/schemas";
import { SIGNATURE_TOLERANCE_MS } from "../auth/standard-webhooks.ts";
import { type Tokens, unauthorized } from "../auth/tokens.ts";
import { forbidden } from "../http/access.ts";
import type { Door } from "../http/door.ts";
import type { StoredToken } from "../store/store.ts";

/** Characters of a `webhook-id`. */
const MAX_ID_LENGTH = 100;

/** The message's name, time and signatures, before its body is read. */
export interface SignatureHeaders {
  readonly id: string;
  readonly atSeconds: number;
  readonly signatures: string;
}

export class SignalSender {
  readonly #tokens: Tokens;
  readonly #door: Pick<Door, "check">;
  readonly #now: () => number;

  constructor(parts: { readonly tokens: Tokens; readonly door: Pick<Door, "check">; readonly now: () => number }) {
    this.#tokens = parts.tokens;
    this.#door = parts.door;
    this.#now = parts.now;
  }

  /**
   * Looks at the headers, before the body is read: answers the token that they show, or the signature to check with the body.
   * @throws FlagbackError `unauthorized`, `too_many_failures`, or `forbidden` for a token that is not this trigger's
   */
  ofHeaders(
    request: IncomingMessage,
    trigger: string,
  ): { readonly token: StoredToken } | { readonly signed: SignatureHeaders } {
    const signatures = request.headers["webhook-signature"];
    if (typeof signatures !== "string") {
      const token = this.#door.check(request, () => this.#tokens.authenticate(bearerOf(request.headers.authorization)));
      assertOfTrigger(token, trigger);
      return { token };
    }
    const signed = signatureHeaders(request.headers, signatures);
    if (!signed) {
      throw this.#refused(
        request,
        "A signed request has webhook-id and webhook-timestamp (Unix seconds) beside its signature.",
      );
    }
    if (Math.abs(signed.atSeconds * 1_000 - this.#now()) > SIGNATURE_TOLERANCE_MS) {
      const minutes = SIGNATURE_TOLERANCE_MS / 60_000;
      throw this.#refused(
        request,
        `The signature's time is more than ${minutes} minutes away from the server's clock.`,
      );
    }
    return { signed };
  }

  /** The token whose secret signed the body. @throws FlagbackError `unauthorized` or `too_many_failures` */
  ofSignature(
    request: IncomingMessage,
    trigger: string,
    { signatures, ...headers }: SignatureHeaders,
    body: string,
  ): StoredToken {
    return this.#door.check(request, () => this.#tokens.authenticateSigned(trigger, { ...headers, body }, signatures));
  }

  /** Counts as a failure of the sender's. */
  #refused(request: IncomingMessage, message: string): unknown {
    return this.#door.check(request, () => {
      throw unauthorized(message);
    });
  }
}

function assertOfTrigger({ role, trigger }: StoredToken, wanted: string): void {
  if (role !== "trigger") throw forbidden(role, "trigger", `fire the trigger ${wanted}`);
  if (trigger === wanted) return;
  throw new FlagbackError({
    code: "forbidden",
    message: `This token fires the trigger ${trigger} and may not fire ${wanted}.`,
    hint: `An admin creates one with flagback token create --role trigger --trigger ${wanted} --name NAME.`,
  });
}

function signatureHeaders(headers: IncomingHttpHeaders, signatures: string): SignatureHeaders | undefined {
  const { "webhook-id": id, "webhook-timestamp": at } = headers;
  if (typeof id !== "string" || id === "" || id.length > MAX_ID_LENGTH) return undefined;
  if (typeof at !== "string" || !/^\d{1,11}$/.test(at)) return undefined;
  return { id, atSeconds: Number(at), signatures };
}

/** Basic authentication's password is the token; its user is anybody. */
function bearerOf(header: string | undefined): string | undefined {
  const [, basic] = /^Basic ([A-Za-z0-9+/=]+)$/.exec(header ?? "") ?? [];
  if (basic === undefined) return header;
  const text = Buffer.from(basic, "base64").toString();
  return `Bearer ${text.slice(text.indexOf(":") + 1)}`;
}
