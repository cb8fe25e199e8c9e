/**
 * The poll path beside the stream (DESIGN 6): `GET /v1/snapshot?after=REV&lease=NONCE`. The answer is 200 with a `Snapshot`
 * or 304; its headers say where the server stands, and whose question it answers.
 */
import * as z from "zod";
import { Epoch, Instance, Mark, Revision } from "./primitives.ts";

/** Made by the runtime, unlike any before it. It goes into a query and comes back in a header, so it holds nothing that these can't. */
export const LeaseNonce = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "use 1 to 64 letters, digits, '_' or '-'");

export const SnapshotQuery = z.object({
  /** The revision that the runtime has applied; left out, the answer is a whole snapshot. */
  after: z.coerce.number().int().min(0).optional(),
  lease: LeaseNonce.optional(),
});
export type SnapshotQuery = z.infer<typeof SnapshotQuery>;

const Digits = z
  .string()
  .regex(/^\d{1,16}$/)
  .transform(Number);

/** Headers of the answer. The nonce is that of the question: an answer that was stored on the way has another. */
export const SnapshotHeaders = z.object({
  "flagback-epoch": Epoch,
  "flagback-revision": Digits.pipe(Revision),
  "flagback-mark": Mark,
  "flagback-lease-ms": Digits,
  "flagback-lease": LeaseNonce.optional(),
});
export type SnapshotHeaders = z.infer<typeof SnapshotHeaders>;

/** Headers with which a runtime says who it is and which history its `after` belongs to: its acknowledgement. */
export const RuntimeHeaders = z.object({
  "flagback-instance": Instance,
  "flagback-sdk": z.string().max(128),
  "flagback-epoch": Epoch.optional(),
  "flagback-mark": Mark.optional(),
});
export type RuntimeHeaders = z.infer<typeof RuntimeHeaders>;
