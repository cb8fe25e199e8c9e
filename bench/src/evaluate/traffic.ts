/** What every contestant is asked: a flag that is the same for everybody, and an alias that is split by targeting key. */

export const FLAG = "banner";
export const WRITE_SWITCH = "writes_disabled";
export const ALIAS = "support-agent";
export const STABLE = "support-agent@2.3.3";
export const CANDIDATE = "support-agent@2.4.0";

/** The candidate's, as at the middle one of flagback's five default stages. */
export const CANDIDATE_PERCENT = 25;
export const CANDIDATE_SHARE = CANDIDATE_PERCENT / 100;

/** A power of two, so that the next key is a mask away. */
const KEYS = 1_024;

// A type, because an interface has no index signature and so is no evaluation context.
export type Caller = { readonly targetingKey: string; readonly agent: string };

const callers: readonly Caller[] = Array.from({ length: KEYS }, (_, i) => ({
  targetingKey: `user-${i * 7_919}`,
  agent: ALIAS,
}));
export const targetingKeys: readonly string[] = callers.map(({ targetingKey }) => targetingKey);

/** The caller of the i-th call, one of 1 024 in turn. */
export function callerOf(call: number): Caller {
  return callers[call & (KEYS - 1)] as Caller;
}

export function targetingKeyOf(call: number): string {
  return targetingKeys[call & (KEYS - 1)] as string;
}

/** The same callers in a peer's own shape, made once. */
export function callersAs<Shape>(shape: (caller: Caller) => Shape): (call: number) => Shape {
  const shaped = callers.map(shape);
  return (call) => shaped[call & (KEYS - 1)] as Shape;
}
