/**
 * Where the provider says what a person should know: each distinct problem once, never once per call.
 */
import { MAX_LOGGED_PROBLEMS } from "./limits.ts";

/** Takes one line each. `warn` heals by itself; `error` needs a human. */
export interface ProviderLogger {
  warn(message: string): void;
  error(message: string): void;
}

/** Problems that were said already, by key. */
export interface ProblemLog {
  warn(key: string, message: string): void;
  error(key: string, message: string): void;
  /** The problems whose key begins so are over; the next one is news again. */
  resolved(keyPrefix: string): void;
}

export const consoleLogger: ProviderLogger = {
  // biome-ignore lint/suspicious/noConsole: a library without a configured logger has no other place to speak.
  warn: (message) => console.warn(`flagback: ${message}`),
  // biome-ignore lint/suspicious/noConsole: as above.
  error: (message) => console.error(`flagback: ${message}`),
};

/** A log that says each problem once and survives a logger that throws. */
export function problemLog(logger: ProviderLogger): ProblemLog {
  const said = new Set<string>();
  const say = (level: "warn" | "error", key: string, message: string) => {
    if (said.has(key) || said.size >= MAX_LOGGED_PROBLEMS) return;
    said.add(key);
    try {
      logger[level](message);
    } catch {
      // The agent must not pay for its logger.
    }
  };
  return {
    warn: (key, message) => say("warn", key, message),
    error: (key, message) => say("error", key, message),
    resolved: (keyPrefix) => {
      for (const key of said) if (key.startsWith(keyPrefix)) said.delete(key);
    },
  };
}
