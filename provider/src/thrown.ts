/**
 * What can be said about a thrown value. Anything can be thrown, also null and objects that throw when they are looked at:
 * nothing here throws.
 */

/** The error's name, or what kind of value it is. */
export function nameOfThrown(thrown: unknown): string {
  try {
    if (thrown === null) return "null";
    if (!(thrown instanceof Error)) return typeof thrown;
    return typeof thrown.name === "string" && thrown.name !== "" ? thrown.name : "Error";
  } catch {
    return "unreadable";
  }
}

export function describeThrown(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return "a value that can't be shown";
  }
}
