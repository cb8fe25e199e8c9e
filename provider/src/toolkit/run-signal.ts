/**
 * Hands a run's signal on to the functions that work for it.
 */

/** The argument that holds a function's options, and the signal's name there. */
export interface SignalPlace {
  readonly argument: number;
  readonly name: string;
}

/** The arguments with a signal that aborts when theirs or the run's does. */
export function withSignal(
  args: readonly unknown[],
  { argument, name }: SignalPlace,
  signal: AbortSignal | undefined,
): unknown[] {
  const copy = [...args];
  if (!signal) return copy;
  const given = args[argument];
  const options: Record<string, unknown> = { ...(typeof given === "object" ? given : {}) };
  const theirs = options[name];
  options[name] = theirs instanceof AbortSignal ? AbortSignal.any([theirs, signal]) : signal;
  copy[argument] = options;
  return copy;
}
