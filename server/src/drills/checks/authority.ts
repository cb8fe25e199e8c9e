/**
 * Whether somebody is there who may roll back.
 */
import { PEOPLES_COMMANDS } from "@flagback/core";
import type { Token } from "@flagback/schemas";
import { isAllowed } from "../../auth/tokens.ts";
import type { Finding } from "./finding.ts";

/** Most names that are listed. */
const MOST_NAMES = 5;

/** Tokens that are lent for a drill must not be among these: they end with it. */
export function authorityFinding(tokens: readonly Token[]): Finding {
  const { role } = PEOPLES_COMMANDS.rollback;
  const able = tokens.filter((token) => token.revokedAt === undefined && isAllowed(token.role, role));
  if (able.length === 0) {
    return { isMet: false, why: `no token of role ${role} or higher is there, so nobody may roll back by hand` };
  }
  const named = able.slice(0, MOST_NAMES).map(({ name, role: has }) => `${name} (${has})`);
  const more = able.length > MOST_NAMES ? ` and ${able.length - MOST_NAMES} more` : "";
  return { isMet: true, why: `${named.join(", ")}${more} may roll back by hand` };
}
