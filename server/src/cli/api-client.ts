/**
 * The HTTP API as functions. A problem document becomes a `FlagbackError` with its code and hint; whatever prevents an
 * answer of flagback's becomes one with the code `unreachable`.
 */
import {
  type AdvanceBody,
  type Alias,
  type ApplyAnswer,
  type ApplyFilesBody,
  type AskedDecision,
  type AuditEvent,
  type ChangeAnswer,
  type ConfigInput,
  type CreateTokenBody,
  type CreateWebhookBody,
  type DoctorAnswer,
  type Drill,
  type DrillStep,
  type EngageBody,
  ERROR_STATUS,
  type ErrorCode,
  type FeedbackSummary,
  type FinishDrillBody,
  type Flag,
  FlagbackError,
  type GateAnswer,
  type Incident,
  type IncidentNoteBody,
  type KillSwitch,
  type LockBody,
  Problem,
  type PutAliasBody,
  type RegisterVersionBody,
  type Release,
  type ReleaseBody,
  type RollbacksBody,
  type RollForwardBody,
  type Runtime,
  type StartDrillBody,
  type StartedDrill,
  type StartRolloutBody,
  type Token,
  type Trigger,
  type TriggerDefinition,
  type UnlockBody,
  type Version,
  type VersionDiff,
  type Webhook,
} from "@flagback/schemas";
import type * as z from "zod";
import type { Replayed } from "../evaluator/replay-decision.ts";
import type {
  AuditQuery,
  AwaitedRollout,
  CreatedToken,
  CreatedWebhook,
  DeliveryAnswer,
  DrillReport,
  FeedbackQuery,
  FeedbackRow,
  IncidentReport,
  PropagationStatus,
  RolloutStatus,
  RotatedWebhook,
  TestedWebhook,
} from "./api-answers.ts";
import { anySignal, timeoutSignal } from "./signals.ts";

/** Longest wait for an answer, beyond what the request itself asks the server to wait. */
const ANSWER_TIMEOUT_MS = 10_000;

type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
type Method = "GET" | "POST" | "PUT" | "DELETE";

interface Send {
  readonly query?: Query;
  readonly body?: unknown;
  /** A body that is text already. */
  readonly yaml?: string;
  /** `If-Match`: carry out only what this names. */
  readonly ifMatch?: string;
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

/** How `apply` is meant. */
export interface ApplyOptions {
  readonly dryRun?: boolean;
  readonly prune?: boolean;
  readonly prefix?: readonly string[];
  /** Carry out exactly the plan of this digest, or nothing. */
  readonly planDigest?: string;
}

export type Api = ReturnType<typeof connectApi>;

/**
 * @param waitAppliedMs changes answer after the connected runtimes applied them, or after this long
 * @throws FlagbackError `usage` when the address is no plain http(s) address or the token none
 */
export function connectApi({ url, token, waitAppliedMs }: { url: string; token?: string; waitAppliedMs?: number }) {
  const base = baseOf(url);
  // Checked here, because whoever refuses such a header quotes it.
  if (token !== undefined && !/^[\x21-\x7e]*$/.test(token)) {
    throw new FlagbackError({
      code: "usage",
      message: "The token holds white space or other characters that no token has.",
      hint: "Copy it whole and on one line, or create another with flagback token create.",
    });
  }

  /**
   * The answer's shape is the contract of `@flagback/schemas`. It is not parsed again here, because those schemas are
   * strict and a newer server may say more than this client knows; that it is a JSON object is checked.
   */
  async function send<Answer>(method: Method, path: string, options: Send = {}): Promise<Answer> {
    const target = new URL(path, base);
    for (const [key, value] of Object.entries(options.query ?? {})) {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (each !== undefined) target.searchParams.append(key, String(each));
      }
    }
    const timeout = timeoutSignal(ANSWER_TIMEOUT_MS + (options.waitMs ?? 0));
    const headers: Record<string, string> = { accept: "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    if (options.ifMatch !== undefined) headers["if-match"] = `"${options.ifMatch}"`;
    const body = options.yaml ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    if (body !== undefined) headers["content-type"] = options.yaml === undefined ? "application/json" : "text/yaml";

    let response: Response;
    let answer: string;
    try {
      response = await fetch(target, {
        method,
        headers,
        body,
        signal: options.signal ? anySignal([timeout, options.signal]) : timeout,
      });
      answer = await response.text();
    } catch (cause) {
      throw unreachable(base, reasonOf(cause), cause);
    }
    return parseAnswer(base, response, answer) as Answer;
  }

  /** A body as it comes. Node's fetch itself gives up where nothing comes for five minutes. */
  async function download(
    method: Method,
    path: string,
  ): Promise<Response & { readonly body: ReadableStream<Uint8Array> }> {
    let response: Response;
    try {
      response = await fetch(new URL(path, base), {
        method,
        headers: token ? { authorization: `Bearer ${token}` } : {},
      });
      if (!response.ok) parseAnswer(base, response, await response.text());
    } catch (cause) {
      throw cause instanceof FlagbackError ? cause : unreachable(base, reasonOf(cause), cause);
    }
    if (response.body === null) throw unreachable(base, "it answered nothing");
    return response as Response & { readonly body: ReadableStream<Uint8Array> };
  }

  const change = (method: Method, path: string, body?: unknown): Promise<ChangeAnswer> =>
    send(method, path, {
      body,
      query: waitAppliedMs === undefined ? {} : { wait: "applied", timeoutMs: waitAppliedMs },
      waitMs: waitAppliedMs,
    });

  return {
    url: base.href.replace(/\/$/, ""),

    versions: (alias?: string) =>
      send<{ versions: Version[] }>("GET", "v1/versions", { query: { alias } }).then((answer) => answer.versions),
    version: (id: string) => send<Version>("GET", `v1/versions/${part(id)}`),
    versionDiff: (from: string, to: string) => send<VersionDiff>("GET", `v1/versions/${part(from)}/diff/${part(to)}`),
    retire: (id: string, reason: string) => change("POST", `v1/versions/${part(id)}/retire`, { reason }),
    register: (body: Partial<RegisterVersionBody> & { id: string }) =>
      send<{ version: Version; change: ChangeAnswer["change"] }>("POST", "v1/versions", { body }),

    aliases: () => send<{ aliases: Alias[] }>("GET", "v1/aliases").then((answer) => answer.aliases),
    alias: (name: string) =>
      send<Alias & { readonly feedback: readonly FeedbackSummary[] }>("GET", `v1/aliases/${part(name)}`),
    rollout: (alias: string) => send<RolloutStatus>("GET", `v1/aliases/${part(alias)}/rollout`),
    /** Answers when the rollout is promoted or rolled back, and after `timeoutMs` at the latest. */
    awaitRollout: (alias: string, query: { readonly timeoutMs: number; readonly rollout?: number }) =>
      send<AwaitedRollout>("GET", `v1/aliases/${part(alias)}/rollout`, {
        query: { wait: "settled", ...query },
        waitMs: query.timeoutMs,
      }),
    gate: (alias: string) => send<GateAnswer>("GET", `v1/aliases/${part(alias)}/gate`),
    doctor: (alias: string) => send<DoctorAnswer>("GET", `v1/aliases/${part(alias)}/doctor`),
    putAlias: (name: string, body: PutAliasBody) => change("PUT", `v1/aliases/${part(name)}`, body),
    startRollout: (alias: string, body: Partial<StartRolloutBody>) =>
      change("POST", `v1/aliases/${part(alias)}/rollout`, body),
    rollForward: (alias: string, body: RollForwardBody) =>
      change("POST", `v1/aliases/${part(alias)}/roll-forward`, body),
    advance: (alias: string, body: AdvanceBody) => change("POST", `v1/aliases/${part(alias)}/advance`, body),
    pause: (alias: string, reason: string) => change("POST", `v1/aliases/${part(alias)}/pause`, { reason }),
    resume: (alias: string, reason: string) => change("POST", `v1/aliases/${part(alias)}/resume`, { reason }),
    promote: (alias: string, reason: string) => change("POST", `v1/aliases/${part(alias)}/promote`, { reason }),
    rollbackTogether: (body: RollbacksBody) => change("POST", "v1/rollbacks", body),
    rollback: (alias: string, reason: string) => change("POST", `v1/aliases/${part(alias)}/rollback`, { reason }),
    lock: (alias: string, body: LockBody) => change("POST", `v1/aliases/${part(alias)}/lock`, body),
    unlock: (alias: string, body: UnlockBody) => change("POST", `v1/aliases/${part(alias)}/unlock`, body),

    killSwitches: () =>
      send<{ killSwitches: KillSwitch[] }>("GET", "v1/kill-switches").then((answer) => answer.killSwitches),
    engage: (key: string, body: EngageBody) => change("POST", `v1/kill-switches/${part(key)}/engage`, body),
    release: (key: string, body: ReleaseBody) => change("POST", `v1/kill-switches/${part(key)}/release`, body),
    stop: (reason: string) => change("POST", "v1/stop", { reason }),

    releases: () => send<{ releases: Release[] }>("GET", "v1/releases").then((answer) => answer.releases),
    releaseNamed: (name: string) => send<Release>("GET", `v1/releases/${part(name)}`),

    flags: () => send<{ flags: Flag[] }>("GET", "v1/flags").then((answer) => answer.flags),
    flag: (key: string) => send<Flag>("GET", `v1/flags/${part(key)}`),

    /** `config` is YAML or JSON as text, several files of it, or what one says. */
    apply: (config: string | ApplyFilesBody | ConfigInput, { planDigest, ...query }: ApplyOptions = {}) =>
      send<ApplyAnswer>("POST", "v1/apply", {
        ...(typeof config === "string" ? { yaml: config } : { body: config }),
        query: { ...query },
        ifMatch: planDigest,
      }),
    config: () => send<ConfigInput>("GET", "v1/config"),

    audit: ({ signal, ...query }: AuditQuery) =>
      send<{ events: AuditEvent[] }>("GET", "v1/audit", { query, waitMs: query.waitMs, signal }).then(
        (answer) => answer.events,
      ),
    feedback: (query: FeedbackQuery) =>
      send<{ feedback: FeedbackRow[] }>("GET", "v1/feedback", { query: { ...query } }).then(
        (answer) => answer.feedback,
      ),
    propagation: (revision: number) => send<PropagationStatus>("GET", `v1/propagation/${revision}`),
    runtimes: () => send<{ runtimes: Runtime[] }>("GET", "v1/runtimes").then((answer) => answer.runtimes),
    incidents: () => send<{ incidents: Incident[] }>("GET", "v1/incidents").then((answer) => answer.incidents),
    decisions: (state?: AskedDecision["state"]) =>
      send<{ decisions: AskedDecision[] }>("GET", "v1/decisions", { query: { state } }).then(
        (answer) => answer.decisions,
      ),
    approve: (decision: string, reason: string) => change("POST", `v1/decisions/${part(decision)}/approve`, { reason }),
    reject: (decision: string, reason: string) => change("POST", `v1/decisions/${part(decision)}/reject`, { reason }),
    replay: (decisionId: string) => send<Replayed>("GET", `v1/decisions/${part(decisionId)}/replay`),
    /** The incident's report in Markdown. */
    incidentReport: async (id: string) => (await download("GET", `v1/incidents/${part(id)}/report.md`)).text(),
    noteIncident: (id: string, body: IncidentNoteBody) => change("POST", `v1/incidents/${part(id)}/notes`, body),
    releaseIncident: (id: string, reason: string) => change("POST", `v1/incidents/${part(id)}/release`, { reason }),
    incident: (id: string) => send<IncidentReport>("GET", `v1/incidents/${part(id)}`),

    drills: (alias?: string) =>
      send<{ drills: Drill[] }>("GET", "v1/drills", { query: { alias } }).then((answer) => answer.drills),
    drill: (id: string) => send<DrillReport>("GET", `v1/drills/${part(id)}`),
    startDrill: (body: StartDrillBody) => send<StartedDrill>("POST", "v1/drills", { body }),
    drillSteps: (id: string, steps: readonly DrillStep[]) =>
      send<{ drill: Drill }>("POST", `v1/drills/${part(id)}/steps`, { body: { steps } }),
    finishDrill: (id: string, body: Partial<FinishDrillBody>) =>
      send<{ drill: Drill }>("POST", `v1/drills/${part(id)}/finish`, { body }),

    /** The backup's bytes, and the revision that it is of. */
    backup: async () => {
      const { body, headers } = await download("POST", "v1/backup");
      return { body, revision: Number(headers.get("flagback-revision")) };
    },

    tokens: () => send<{ tokens: Token[] }>("GET", "v1/tokens").then((answer) => answer.tokens),
    createToken: (body: Partial<CreateTokenBody> & Pick<CreateTokenBody, "name" | "role">) =>
      send<CreatedToken>("POST", "v1/tokens", { body }),
    revokeToken: (id: string) => send<{ token: Token }>("DELETE", `v1/tokens/${part(id)}`),

    triggers: () => send<{ triggers: Trigger[] }>("GET", "v1/triggers").then((answer) => answer.triggers),
    putTrigger: (id: string, body: z.input<typeof TriggerDefinition>) => change("PUT", `v1/triggers/${part(id)}`, body),
    removeTrigger: (id: string) => change("DELETE", `v1/triggers/${part(id)}`),

    webhooks: () => send<{ webhooks: Webhook[] }>("GET", "v1/webhooks").then((answer) => answer.webhooks),
    addWebhook: (body: Partial<CreateWebhookBody>) => send<CreatedWebhook>("POST", "v1/webhooks", { body }),
    rotateWebhook: (id: string) => send<RotatedWebhook>("POST", `v1/webhooks/${part(id)}/rotate`),
    testWebhook: (id: string) => send<TestedWebhook>("POST", `v1/webhooks/${part(id)}/test`),
    deliveries: (id: string, query: { readonly state?: DeliveryAnswer["state"]; readonly limit?: number }) =>
      send<{ deliveries: DeliveryAnswer[] }>("GET", `v1/webhooks/${part(id)}/deliveries`, { query }).then(
        (answer) => answer.deliveries,
      ),
    redeliver: (id: string, delivery?: string) =>
      send<{ waiting: number }>("POST", `v1/webhooks/${part(id)}/redeliver`, { body: { delivery } }),
    removeWebhook: (id: string) => send<{ deleted: string }>("DELETE", `v1/webhooks/${part(id)}`),
  };
}

function baseOf(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base?.protocol !== "http:" && base?.protocol !== "https:") {
    throw new FlagbackError({
      code: "usage",
      message: `${url} is no http address.`,
      hint: "Give --url or FLAGBACK_URL an address such as http://127.0.0.1:7780.",
    });
  }
  if (base.username !== "" || base.password !== "") {
    throw new FlagbackError({
      code: "usage",
      message: "The address holds a user name or a password, which flagback does not use.",
      hint: "Leave them out; who you are is said by --token or FLAGBACK_TOKEN.",
    });
  }
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

const part = encodeURIComponent;

function parseAnswer(base: URL, response: Response, text: string): object {
  let value: unknown;
  try {
    value = text === "" && response.ok ? {} : JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (response.ok && typeof value === "object" && value !== null) return value;
  const problem = Problem.safeParse(value);
  if (!problem.success) {
    const type = response.headers.get("content-type") ?? "no content type";
    throw unreachable(base, `it answered ${response.status} (${type}), which is not flagback's way`);
  }
  const { code, detail, ...rest } = problem.data;
  throw new FlagbackError({ ...rest, code: knownCode(code), message: detail }, { cause: problem.data });
}

/** A newer server may refuse with a code that this client doesn't know; the text still says what is wrong. */
function knownCode(code: string): ErrorCode {
  return Object.hasOwn(ERROR_STATUS, code) ? (code as ErrorCode) : "bad_request";
}

/** Whether the same request may do better a little later. */
export function isPassing(error: unknown): error is FlagbackError {
  return error instanceof FlagbackError && (error.code === "unreachable" || error.code === "overloaded");
}

function unreachable(base: URL, reason: string, cause?: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "unreachable",
      message: `No flagback server answers at ${base.origin}: ${reason}.`,
      hint: "Start one with `flagback serve`, or say where it is with --url or FLAGBACK_URL.",
    },
    { cause },
  );
}

/** Node's fetch hides why it failed in nested causes. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.name === "TimeoutError") return "no answer in time";
  if (cause.cause instanceof AggregateError && cause.cause.errors.length > 0) return reasonOf(cause.cause.errors[0]);
  return cause.cause instanceof Error ? reasonOf(cause.cause) : cause.message;
}
