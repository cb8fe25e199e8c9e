/**
 * Tokens `fb_<role>_<selector>_<secret>`: stored as selector and SHA-256 of the secret, compared in constant time.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { FlagbackError, type Role, type Token } from "@flagback/schemas";
import type { Store, StoredToken, WriteRecord } from "../store/store.ts";
import { isSignedBy, type SignedMessage, secretOf } from "./standard-webhooks.ts";

const SELECTOR_BYTES = 6;
const SECRET_BYTES = 24;
/** viewer < operator < lead < admin, each includes the former; runtime and trigger stand apart, at no rank. */
const RANK: Readonly<Record<Role, number>> = {
  runtime: Number.NaN,
  trigger: Number.NaN,
  viewer: 0,
  operator: 1,
  lead: 2,
  admin: 3,
};
/** Tokens of one trigger that are not revoked: an unsigned stranger's signal is checked against each. */
const MAX_TRIGGER_TOKENS = 4;

/** Whether a token of role `has` may do what needs role `needs`. */
export function isAllowed(has: Role, needs: Role): boolean {
  return has === needs || RANK[has] >= RANK[needs];
}

export interface CreatedToken {
  readonly token: Token;
  readonly secret: string;
  /** Of a trigger's token: what its signals may be signed with instead. */
  readonly signingSecret?: string;
}

type TokenDraft = Pick<Token, "role" | "name" | "aliases" | "trigger">;

export class Tokens {
  readonly #store: Store;
  readonly #byId: Map<string, StoredToken>;
  /** Those that are kept nowhere else. */
  readonly #lent = new Map<string, StoredToken>();

  constructor(store: Store, tokens: readonly StoredToken[]) {
    this.#store = store;
    this.#byId = new Map(tokens.map((token) => [token.id, token]));
  }

  list(): Token[] {
    return [...this.#byId.values()].map(({ secretHash, ...token }) => token);
  }

  isEmpty(): boolean {
    return this.#byId.size === 0;
  }

  /**
   * Makes a token. The secret is answered here once and kept nowhere. `recordOf` says what is written with it.
   * @throws FlagbackError `bad_request` where the trigger has as many as there may be
   */
  async create(
    draft: TokenDraft,
    by: string,
    at: string,
    recordOf?: (token: Token) => WriteRecord,
  ): Promise<CreatedToken> {
    if (draft.trigger !== undefined) this.#assertRoom(draft.trigger);
    const { stored, token, secret } = fresh(draft, by, at);
    await this.#keep(stored, recordOf?.(token));
    return { token, secret, ...(draft.role === "trigger" && { signingSecret: signingSecretOf(stored) }) };
  }

  /** Makes a token that is written nowhere: it ends when it is taken back, or with the process. */
  lend(draft: TokenDraft, by: string, at: string): { readonly token: Token; readonly secret: string } {
    const { stored, token, secret } = fresh(draft, by, at);
    this.#lent.set(stored.id, stored);
    return { token, secret };
  }

  /** Ends a lent token. */
  takeBack(id: string): void {
    this.#lent.delete(id);
  }

  async revoke(id: string, at: string, recordOf: (token: Token) => WriteRecord): Promise<Token> {
    const token = this.#byId.get(id);
    if (!token) {
      throw new FlagbackError({
        code: "token_not_found",
        message: `There is no token ${id}.`,
        hint: "List them with flagback token list.",
      });
    }
    const { secretHash, ...revoked } = { ...token, revokedAt: token.revokedAt ?? at };
    await this.#keep({ ...revoked, secretHash }, recordOf(revoked));
    return revoked;
  }

  /** The token that an `Authorization` header carries. @throws FlagbackError `unauthorized`; never says which part was wrong. */
  authenticate(header: string | undefined): StoredToken {
    const [, role, id, secret] = /^Bearer fb_([a-z]+)_([0-9a-f]+)_([0-9a-f]+)$/.exec(header ?? "") ?? [];
    const token = this.#find(id ?? "");
    const expected = Buffer.from(token?.secretHash ?? "0".repeat(64), "hex");
    const isSame = timingSafeEqual(hash(secret ?? ""), expected);
    if (token && isSame && token.role === role && token.revokedAt === undefined) return token;
    throw unauthorized(
      header === undefined ? "The request carries no token." : "The token is not known here, or was revoked.",
    );
  }

  /** The token of a trigger whose signing secret made one of a message's signatures. @throws FlagbackError `unauthorized` */
  authenticateSigned(trigger: string, message: SignedMessage, signatures: string): StoredToken {
    const found = this.#liveOf(trigger).find((token) => isSignedBy(message, signatures, signingSecretOf(token)));
    if (found) return found;
    throw unauthorized("The signature is of no secret that is known here for this trigger.");
  }

  /** For what outlives the check at its beginning, such as a long poll. @throws FlagbackError `unauthorized` */
  assertLive(token: Token): void {
    const found = this.#find(token.id);
    if (!found || found.revokedAt !== undefined) throw unauthorized("The token was revoked.");
  }

  #find(id: string): StoredToken | undefined {
    return this.#byId.get(id) ?? this.#lent.get(id);
  }

  #liveOf(trigger: string): StoredToken[] {
    return [...this.#byId.values()].filter((token) => token.trigger === trigger && token.revokedAt === undefined);
  }

  #assertRoom(trigger: string): void {
    if (this.#liveOf(trigger).length < MAX_TRIGGER_TOKENS) return;
    throw new FlagbackError({
      code: "bad_request",
      message: `The trigger ${trigger} has ${MAX_TRIGGER_TOKENS} tokens, which is the limit.`,
      hint: "Revoke one that is not used: flagback token list.",
    });
  }

  async #keep(token: StoredToken, record: WriteRecord | undefined): Promise<void> {
    await this.#store.putToken(token, record);
    this.#byId.set(token.id, token);
  }
}

/**
 * What a trigger's signals are signed with, where their sender signs instead of showing its token. It is the token's hash, so
 * there is nothing more to store or to revoke, and who learns it can sign but not show the token.
 */
function signingSecretOf({ secretHash }: Pick<StoredToken, "secretHash">): string {
  return secretOf(Buffer.from(secretHash, "hex"));
}

function fresh(
  draft: TokenDraft,
  by: string,
  at: string,
): { readonly stored: StoredToken; readonly token: Token; readonly secret: string } {
  const id = randomBytes(SELECTOR_BYTES).toString("hex");
  const secretPart = randomBytes(SECRET_BYTES).toString("hex");
  // In one order, so that equal scopes share what is encoded for them.
  const aliases = [...new Set(draft.aliases)].sort();
  const token: Token = { id, ...draft, aliases, createdAt: at, createdBy: by };
  const stored = { ...token, secretHash: hash(secretPart).toString("hex") };
  return { stored, token, secret: `fb_${draft.role}_${id}_${secretPart}` };
}

export function unauthorized(message: string): FlagbackError {
  const hint = 'Send "Authorization: Bearer fb_..."; an admin creates tokens with flagback token create.';
  return new FlagbackError({ code: "unauthorized", message, hint });
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
