/**
 * The lease bound (docs/guarantees.md) as a check of what really happened: no read that starts later than the lease and the
 * switch's `afterMs` after the commit may see the permission that the commit took away. Pure.
 */

/** A permission that a commit took away. All times are of one monotonic clock. */
export interface Withdrawal {
  /** At the earliest when the commit took effect, so that nobody is blamed too early. */
  readonly committedMs: number;
  /** When giving the permission back began; infinity where nobody did. */
  readonly restoredMs: number;
}

/** A read that was answered as if the permission were there. */
export interface PermittedRead {
  readonly runtime: string;
  readonly permission: "write" | "candidate";
  /** Right before the read began. */
  readonly startedMs: number;
}

export interface LateRead extends PermittedRead {
  /** How long after the bound the read began. */
  readonly lateMs: number;
}

/** Every read of one runtime that broke the bound. */
export function lateReads(
  withdrawal: Withdrawal,
  bounds: Readonly<Record<PermittedRead["permission"], number>>,
  reads: readonly PermittedRead[],
): LateRead[] {
  return reads.flatMap((read) => {
    const lateMs = read.startedMs - (withdrawal.committedMs + bounds[read.permission]);
    return lateMs > 0 && read.startedMs < withdrawal.restoredMs ? [{ ...read, lateMs }] : [];
  });
}
