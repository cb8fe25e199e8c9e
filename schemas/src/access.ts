/**
 * Who may do what, and who did.
 */
import * as z from "zod";
import { Name, Timestamp } from "./primitives.ts";

export const Role = z.enum(["runtime", "trigger", "viewer", "operator", "lead", "admin"]);
export type Role = z.infer<typeof Role>;

/** Who did something: a token, a trigger that was fired, a link in an alert, the brain, or the server itself. */
export const Actor = z.strictObject({
  kind: z.enum(["token", "trigger", "link", "brain", "system"]),
  /** The token's name, `trigger:ID`, `link:` and the beginning of its decision's id, `brain` or `system`. */
  name: z.string(),
  /** The token's or trigger's id, or that of the webhook that the link was sent to; absent for the brain and the system. */
  id: z.string().optional(),
});
export type Actor = z.infer<typeof Actor>;

/** A token without its secret. */
export const Token = z.strictObject({
  id: z.string(),
  role: Role,
  name: z.string().min(1).max(128),
  /** Runtime tokens may be scoped; empty means all. */
  aliases: z.array(Name),
  /** The one trigger that a token of role `trigger` may fire. */
  trigger: Name.optional(),
  createdAt: Timestamp,
  createdBy: z.string(),
  revokedAt: Timestamp.optional(),
});
export type Token = z.infer<typeof Token>;
