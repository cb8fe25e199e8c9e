/**
 * What a `FlagbackProvider` can be told, and what it is told by default.
 */
import { resolve } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import { type Clock, systemClock } from "./clock.ts";
import type { KillSwitchKey } from "./keys.ts";
import {
  DEFAULT_CLOSE_TIMEOUT_MS,
  DEFAULT_ERROR_GRACE_MS,
  DEFAULT_INIT_TIMEOUT_MS,
  DEFAULT_MAX_OUTCOME_BYTES,
  DEFAULT_MAX_OUTCOMES,
  DEFAULT_WRITE_SWITCH,
} from "./limits.ts";
import { consoleLogger, type ProviderLogger } from "./logger.ts";

export interface FlagbackProviderOptions {
  /** Where the server listens, such as `https://flags.example.com` or `http://127.0.0.1:7780`. A path is kept as a prefix. */
  readonly url: string;
  /** A runtime token, `fb_runtime_...`. */
  readonly token: string;
  /** Takes each distinct problem once. Default: the console. */
  readonly logger?: ProviderLogger;
  /**
   * A file that keeps what the server sent, for a start while the server is down. Its folder must exist, be writable, and be
   * nobody else's. Processes that connect to the same server may share it. Default: none is kept.
   */
  readonly cacheFile?: string;
  /** How long `initialize` waits for the first snapshot and lease before it goes on with the cache, or rejects. Default 5 s. */
  readonly initTimeoutMs?: number;
  /** How long the provider is STALE before it is ERROR. Default 10 s. */
  readonly errorGraceMs?: number;
  /** How long `onClose` waits for outcomes to be acknowledged, and then for the cache file. Default 2 s. */
  readonly closeTimeoutMs?: number;
  /** The kill switch that `writesAllowed` and `guardTools` ask. Default `writes_disabled`. */
  readonly writeSwitch?: KillSwitchKey;
  /**
   * Whether the answer of a static flag that was given before says CACHED, as a dashboard may count cache hits, instead of
   * STATIC, which says more (specification 2.2.5). Aliases and kill switches always say why. Default false.
   */
  readonly cachedReason?: boolean;
  /**
   * Whether `initialize` itself emits READY or ERROR (specification 0.9, 2.8.2 and 2.8.3). The server SDK emits both until a
   * provider can tell it not to, so that handlers would run twice. Default false.
   */
  readonly emitsLifecycleEvents?: boolean;
  /** Outcomes that may wait; beyond it the oldest is dropped and counted. Default 20 000. */
  readonly maxOutcomes?: number;
  /** Bytes of outcomes that may wait; beyond it the oldest is dropped and counted. Default 16 MiB. */
  readonly maxOutcomeBytes?: number;
  /** For tests: the clocks and the source of jitter. */
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface Settings extends Required<Omit<FlagbackProviderOptions, "url" | "cacheFile">> {
  /** Absolute: the process may change its folder. */
  readonly cacheFile: string | null;
  readonly streamUrl: string;
  readonly snapshotUrl: string;
  readonly feedbackUrl: string;
}

/**
 * Settings for what was passed, and `usage` naming every option that can't be used. Such an option counts as its default
 * then, and the settings connect to nothing.
 */
export function settingsOf(given: Partial<FlagbackProviderOptions> | undefined): {
  readonly settings: Settings;
  readonly unusable: FlagbackError | null;
} {
  const options = given ?? {};
  const problems: string[] = [];
  const urls = urlsOf(options.url, problems);
  if (typeof options.token !== "string" || options.token.trim() === "") problems.push("token is missing");
  const { cacheFile } = options;
  const hasCache = cacheFile !== undefined;
  if (hasCache && (typeof cacheFile !== "string" || cacheFile === "")) problems.push("cacheFile is no path");
  const number = (
    name: "initTimeoutMs" | "errorGraceMs" | "closeTimeoutMs" | "maxOutcomes" | "maxOutcomeBytes",
    otherwise: number,
  ) => {
    const value = options[name] ?? otherwise;
    if (Number.isFinite(value) && value >= 0) return value;
    problems.push(`${name} is ${String(value)}, not a number of at least 0`);
    return otherwise;
  };
  const settings: Settings = {
    ...urls,
    token: options.token ?? "",
    cacheFile: hasCache && problems.length === 0 ? resolve(String(cacheFile)) : null,
    logger: options.logger ?? consoleLogger,
    initTimeoutMs: number("initTimeoutMs", DEFAULT_INIT_TIMEOUT_MS),
    errorGraceMs: number("errorGraceMs", DEFAULT_ERROR_GRACE_MS),
    closeTimeoutMs: number("closeTimeoutMs", DEFAULT_CLOSE_TIMEOUT_MS),
    maxOutcomes: number("maxOutcomes", DEFAULT_MAX_OUTCOMES),
    maxOutcomeBytes: number("maxOutcomeBytes", DEFAULT_MAX_OUTCOME_BYTES),
    writeSwitch: options.writeSwitch ?? DEFAULT_WRITE_SWITCH,
    cachedReason: options.cachedReason ?? false,
    emitsLifecycleEvents: options.emitsLifecycleEvents ?? false,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
  };
  return { settings, unusable: problems.length === 0 ? null : unusable(problems) };
}

function unusable(problems: readonly string[]): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: `FlagbackProvider can't connect: ${problems.join("; ")}.`,
    hint: "Pass {url: 'http://127.0.0.1:7780', token: 'fb_runtime_...'}.",
    problems: [...problems],
  });
}

function urlsOf(
  url: string | undefined,
  problems: string[],
): Pick<Settings, "streamUrl" | "snapshotUrl" | "feedbackUrl"> {
  const parsed = typeof url === "string" && URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !/^(http|ws)s?:$/.test(parsed.protocol)) {
    problems.push(`url is ${describeUrl(url)}, not an http or https address`);
    return { streamUrl: "", snapshotUrl: "", feedbackUrl: "" };
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    problems.push("url may hold only a host, a port and a path; the token goes into the option token");
  }
  const secure = parsed.protocol === "https:" || parsed.protocol === "wss:" ? "s" : "";
  const place = `${parsed.host}${parsed.pathname.replace(/\/+$/, "")}`;
  return {
    streamUrl: `ws${secure}://${place}/v1/stream`,
    snapshotUrl: `http${secure}://${place}/v1/snapshot`,
    feedbackUrl: `http${secure}://${place}/v1/feedback`,
  };
}

/** For the log: without what may be a secret, the user, the password and the query. */
function describeUrl(url: unknown): string {
  if (typeof url !== "string") return url === undefined ? "missing" : typeof url;
  return JSON.stringify(url.replace(/^[^/]*\/\/[^/]*@/, "...@").replace(/[?#].*$/s, "?..."));
}
