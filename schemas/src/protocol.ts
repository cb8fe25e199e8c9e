/**
 * The stream's protocol, WebSocket subprotocol `flagback.v1` (DESIGN 5): JSON text frames, declared once, decoded at both
 * ends to a message, an unknown type (ignored, so that v1 can grow) or a malformed frame (close 4400).
 */
import * as z from "zod";
import { OutcomeBatch } from "./outcome-batch.ts";
import { readOutcomeBatch } from "./outcome-decoder.ts";
import { Epoch, Instance, Mark, Revision } from "./primitives.ts";
import { DocumentRef, RuntimeDocument } from "./runtime-documents.ts";

export const SUBPROTOCOL = "flagback.v1";

/** Close codes of the stream. */
export const CLOSE = {
  /** The server is going away; a `goodbye` said when to come back. */
  goodbye: 1001,
  /** A frame that could not be decoded, or no hello in time. */
  malformed: 4400,
  /** The token was revoked, or the instance belongs to another token. */
  unauthorized: 4401,
  /** The peer did not read: too much was waiting for it. */
  slowReader: 4408,
  /** A newer socket of the same instance took over. */
  replaced: 4409,
  /** An outcome batch did not follow the last counted one; resend from `outcomesThrough`. */
  sequenceGap: 4412,
  /** The peer missed two heartbeats: the socket is ended without a close frame, so this is never on the wire. */
  deadPeer: 4413,
} as const;

const Id = z.int().min(0);
const Milliseconds = z.number().min(0);

/** Where a runtime stands in the server's history. */
export const Cursor = z.object({ epoch: Epoch, revision: Revision, mark: Mark });
export type Cursor = z.infer<typeof Cursor>;

export const ServerHello = z.object({
  type: z.literal("hello"),
  epoch: Epoch,
  revision: Revision,
  mark: Mark,
  /** How often the server sends a WebSocket ping. Two missed ones end the socket, at both ends. */
  heartbeatMs: Milliseconds,
  leaseMs: Milliseconds,
  /** Sequence number of this instance's last durably counted batch; 0 when none. */
  outcomesThrough: Id,
  limits: z.object({ maxFrameBytes: z.int().min(1), maxBatchItems: z.int().min(1) }),
});
export type ServerHello = z.infer<typeof ServerHello>;
export const Snapshot = z.object({
  type: z.literal("snapshot"),
  epoch: Epoch,
  revision: Revision,
  mark: Mark,
  documents: z.array(RuntimeDocument),
});
export type Snapshot = z.infer<typeof Snapshot>;
/** Atomic: after it, every document is as of `revision`. */
export const Delta = z.object({
  type: z.literal("delta"),
  from: Revision,
  revision: Revision,
  mark: Mark,
  put: z.array(RuntimeDocument),
  delete: z.array(DocumentRef),
});
export type Delta = z.infer<typeof Delta>;
export const ServerLease = z.object({ type: z.literal("lease"), id: Id, revision: Revision });
export type ServerLease = z.infer<typeof ServerLease>;
/** Every batch up to and including `through` is durable. */
export const OutcomesAck = z.object({
  type: z.literal("outcomesAck"),
  through: Id,
  slowDownMs: Milliseconds.optional(),
  /** Items of acknowledged batches that were not counted, with the reason. */
  rejected: z.array(z.object({ seq: Id, index: z.int().min(0), code: z.string(), message: z.string() })).optional(),
});
export type OutcomesAck = z.infer<typeof OutcomesAck>;
export const Goodbye = z.object({
  type: z.literal("goodbye"),
  reason: z.string(),
  retryAfterMs: Milliseconds,
  spreadMs: Milliseconds,
});
export type Goodbye = z.infer<typeof Goodbye>;
export const ServerError = z.object({ type: z.literal("error"), code: z.string(), message: z.string() });
export type ServerError = z.infer<typeof ServerError>;

export const ServerMessage = z.discriminatedUnion("type", [
  ServerHello,
  Snapshot,
  Delta,
  ServerLease,
  OutcomesAck,
  Goodbye,
  ServerError,
]);
export type ServerMessage = z.infer<typeof ServerMessage>;

export const RuntimeHello = z.object({
  type: z.literal("hello"),
  instance: Instance,
  /** Name and version of the client, such as `@flagback/provider 0.1.0`. */
  sdk: z.string().max(128),
  resume: Cursor.optional(),
});
export type RuntimeHello = z.infer<typeof RuntimeHello>;
export const RuntimeLease = z.object({ type: z.literal("lease"), id: Id });
export type RuntimeLease = z.infer<typeof RuntimeLease>;
/** Sent after the runtime's snapshot was swapped, so that every later evaluation sees the revision. */
export const Applied = z.object({ type: z.literal("applied"), revision: Revision, appliedAfterMs: Milliseconds });
export type Applied = z.infer<typeof Applied>;

/** The runtime is closing on purpose; its open runs are reported as `cancelled` before it. */
export const RuntimeGoodbye = z.object({ type: z.literal("goodbye") });
export type RuntimeGoodbye = z.infer<typeof RuntimeGoodbye>;

export const RuntimeMessage = z.discriminatedUnion("type", [
  RuntimeHello,
  RuntimeLease,
  Applied,
  OutcomeBatch,
  RuntimeGoodbye,
]);
export type RuntimeMessage = z.infer<typeof RuntimeMessage>;

export type Decoded<Message> =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "unknown_type"; readonly type: string }
  | { readonly kind: "malformed"; readonly problem: string };

/** Decodes a frame that a runtime received. Never throws. */
export function decodeServerFrame(text: string): Decoded<ServerMessage> {
  return decode(text, ServerMessage, SERVER_TYPES, () => undefined);
}

/** Decodes a frame that the server received. Never throws. */
export function decodeRuntimeFrame(text: string): Decoded<RuntimeMessage> {
  return decode(text, RuntimeMessage, RUNTIME_TYPES, readOutcomeBatch);
}

const SERVER_TYPES = typesOf(ServerMessage);
const RUNTIME_TYPES = typesOf(RuntimeMessage);

function typesOf(union: typeof ServerMessage | typeof RuntimeMessage): ReadonlySet<string> {
  return new Set(union.options.map((option) => option.shape.type.value));
}

/** `read` decodes by hand what the schema accepts, or leaves it to the schema. */
function decode<Message>(
  text: string,
  schema: z.ZodType<Message>,
  types: ReadonlySet<string>,
  read: (value: unknown) => Message | undefined,
): Decoded<Message> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { kind: "malformed", problem: `the frame is no JSON${positionIn(error as Error)}` };
  }
  const message = read(value);
  if (message !== undefined) return { kind: "message", message };
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : undefined;
  if (typeof type !== "string") return { kind: "malformed", problem: "the frame has no type" };
  if (!types.has(type)) return { kind: "unknown_type", type };
  const parsed = schema.safeParse(value);
  if (parsed.success) return { kind: "message", message: parsed.data };
  const issue = parsed.error.issues[0];
  return { kind: "malformed", problem: `${type}: ${issue?.path.join(".") || "frame"}: ${issue?.message}` };
}

/** Where parsing ended. The rest of the engine's message may quote the frame, and problems are logged. */
function positionIn({ message }: Error): string {
  const [position] = /position \d+/.exec(message) ?? [];
  return position === undefined ? "" : ` from ${position} on`;
}
