/**
 * An answer of the poll path, decoded: a snapshot, nothing new, or something else than a flagback server's answer.
 */
import { type Cursor, Snapshot, SnapshotHeaders } from "@flagback/schemas";
import { describeThrown } from "../thrown.ts";
import { describeRefusal, isTokenRefused } from "./refusal.ts";
import type { PollResult } from "./state.ts";

/** Where the server stood when it answered. */
export interface PollHead {
  readonly cursor: Cursor;
  readonly leaseMs: number;
}

export type PollAnswer =
  | { readonly kind: "unchanged"; readonly head: PollHead }
  | { readonly kind: "snapshot"; readonly head: PollHead; readonly snapshot: Snapshot }
  | { readonly kind: "tokenRefused"; readonly httpStatus: number }
  | {
      readonly kind: "unusable";
      readonly detail: string;
      /** A door that is shut, not a server that is busy: knock rarely. */
      readonly isForbidden?: boolean;
      readonly retryAfterMs?: number;
    };

/** Never throws. An answer without our nonce was given to somebody else, or to us long ago, and is unusable. */
export function decodePoll(result: PollResult, nonce: string): PollAnswer {
  if (result.kind === "failure") return unusable(result.detail);
  const { status, headers, text } = result;
  if (status !== 200 && status !== 304) return refusal(status, headers);
  const parsed = SnapshotHeaders.safeParse(headers);
  if (!parsed.success) {
    const missing = parsed.error.issues[0]?.path.join(".");
    return unusable(`${status} without a usable header ${missing}; is the url that of a flagback server?`);
  }
  const said = parsed.data;
  if (said["flagback-lease"] !== nonce)
    return unusable("the answer to another question: something on the way stores answers");
  const cursor = { epoch: said["flagback-epoch"], revision: said["flagback-revision"], mark: said["flagback-mark"] };
  const head = { cursor, leaseMs: said["flagback-lease-ms"] };
  if (status === 304) return { kind: "unchanged", head };
  const snapshot = decodeSnapshot(text);
  if (typeof snapshot === "string") return unusable(snapshot);
  const isOneAnswer =
    snapshot.epoch === cursor.epoch && snapshot.revision === cursor.revision && snapshot.mark === cursor.mark;
  return isOneAnswer ? { kind: "snapshot", head, snapshot } : unusable("headers and body are of different revisions");
}

/** The snapshot, or what is wrong with it. JSON can be nested deeper than the stack that would check it. */
function decodeSnapshot(text: string): Snapshot | string {
  try {
    const parsed = Snapshot.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    return `snapshot: ${issue?.path.join(".")}: ${issue?.message}`;
  } catch (error) {
    return `the snapshot can't be decoded: ${describeThrown(error)}`;
  }
}

function refusal(httpStatus: number, headers: Readonly<Record<string, string | undefined>>): PollAnswer {
  const { isProblem, retryAfterMs } = describeRefusal(headers);
  if (isTokenRefused({ httpStatus, isProblem })) return { kind: "tokenRefused", httpStatus };
  const isForbidden = httpStatus === 403;
  return {
    kind: "unusable",
    detail: `HTTP ${httpStatus}`,
    isForbidden,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}

function unusable(detail: string): PollAnswer {
  return { kind: "unusable", detail };
}
