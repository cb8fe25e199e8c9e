import { isDeepStrictEqual } from "node:util";

/** @throws unless both are the same, through and through, with both in the message */
export function same(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(`${what} is ${show(actual)}, not ${show(expected)}`);
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
