/**
 * Where the provider says what a person should know: each distinct problem once, never once per call.
 */
import { MAX_LOGGED_PROBLEMS } from "./limits.ts";

/** Takes one line each. `warn` heals by itself; `error` needs a human. */
export interface ProviderLogger {
  warn(message: string): void;
  error(message: string): void;
}

/**
 * Problems that were said already, by key. A key is `topic.problem`; each topic has room of its own, so that a flood of one,
 * such as a field that is wrong in ever new ways, never silences another, such as a refused token.
 */
export interface ProblemLog {
  warn(key: string, message: string): void;
  error(key: string, message: string): void;
  /** The topic's problems are over; the next one is news again. */
  resolved(topic: string): void;
}

export const consoleLogger: ProviderLogger = {
  // biome-ignore lint/suspicious/noConsole: a library without a configured logger has no other place to speak.
  warn: (message) => console.warn(`flagback: ${message}`),
  // biome-ignore lint/suspicious/noConsole: as above.
  error: (message) => console.error(`flagback: ${message}`),
};

/** A log that says each problem once and survives a logger that throws. */
export function problemLog(logger: ProviderLogger): ProblemLog {
  const said = new Map<string, Set<string>>();
  const say = (level: "warn" | "error", key: string, message: string) => {
    const topic = key.slice(0, key.indexOf("."));
    const known = said.get(topic) ?? new Set();
    said.set(topic, known);
    if (known.has(key) || known.size > MAX_LOGGED_PROBLEMS) return;
    const isFull = known.size === MAX_LOGGED_PROBLEMS;
    known.add(key);
    try {
      logger[level](isFull ? `${message} (further problems of this kind, ${topic}, are not logged)` : message);
    } catch {
      // The agent must not pay for its logger.
    }
  };
  return {
    warn: (key, message) => say("warn", key, message),
    error: (key, message) => say("error", key, message),
    resolved: (topic) => said.delete(topic),
  };
}
