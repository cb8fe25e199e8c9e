/**
 * Who acts where no person does.
 */
import type { Actor } from "@flagback/schemas";

/** The brain, on evidence. */
export const BRAIN: Actor = { kind: "brain", name: "brain" };
/** The server itself, such as where a time is over. */
export const SYSTEM: Actor = { kind: "system", name: "system" };
