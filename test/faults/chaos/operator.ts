/**
 * Whoever changes things: asks, and where no answer comes asks again under the same Idempotency-Key, as a good client does.
 */
import { ChangeAnswer, Problem } from "@flagback/schemas";
import { machineMs } from "../lease-bound/machine-clock.ts";
import { BULK, stableOf, WRITE_SWITCH } from "./cast.ts";
import type { Answer, ChaosEvent, Command } from "./history.ts";
import { reasonOf } from "./permissions.ts";

/** A server that is stalled answers nothing: the request is given up and made again. */
const ANSWER_TIMEOUT_MS = 3_000;
const RETRY_MS = 50;
/** Refusals that say nothing of the request, only of the server's state: it is made again. */
const PASSING: ReadonlySet<string> = new Set(["database_unavailable"]);

export interface OperatorWorld {
  readonly url: string;
  readonly adminToken: string;
  /** For what only runtimes may say. */
  readonly runtimeToken: string;
  /** Where alerts go that nobody looks at. */
  readonly decoyUrl: string;
}

export class Operator {
  readonly #world: OperatorWorld;
  readonly #record: (event: ChaosEvent) => void;
  #requests = 0;
  /** Set while requests are given up instead of made again. */
  #isClosed = false;
  readonly counts = { done: 0, refused: 0, unanswered: 0 };

  constructor(world: OperatorWorld, record: (event: ChaosEvent) => void) {
    this.#world = world;
    this.#record = record;
  }

  /** Asks until it is answered. Null once closed. */
  async ask(command: Command): Promise<Answer | null> {
    this.#requests += 1;
    const id = `c${this.#requests}`;
    this.#record({ kind: "asked", atMs: machineMs(), id, command });
    while (!this.#isClosed) {
      const answer = await this.#try(id, command).catch(() => null);
      if (answer) {
        this.#record({ kind: "answered", atMs: machineMs(), id, answer });
        this.counts[answer.kind === "refused" ? "refused" : "done"] += 1;
        return answer;
      }
      this.counts.unanswered += 1;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    return null;
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Null where the answer says nothing yet. @throws where none came */
  async #try(id: string, command: Command): Promise<Answer | null> {
    const { url, adminToken, runtimeToken, decoyUrl } = this.#world;
    const { method, path, body } = requestOf(id, command, decoyUrl);
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${command.kind === "feedback" ? runtimeToken : adminToken}`,
        "idempotency-key": id,
        ...(body && { "content-type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    const answer: unknown = await response.json();
    if (!response.ok) {
      const { code } = Problem.parse(answer);
      return PASSING.has(code) || response.status >= 500 ? null : { kind: "refused", code };
    }
    if (command.kind === "feedback") return { kind: "stored" };
    const changed = ChangeAnswer.safeParse(answer).data;
    if (!changed) return { kind: "administered", target: targetOf(answer as Administered) };
    const { revision, change } = changed;
    if (change.status !== "done" || change.auditId === undefined) return { kind: "unchanged", revision };
    return { kind: "done", auditId: change.auditId, revision };
  }
}

interface Administered {
  readonly token?: { readonly id: string };
  readonly webhook?: { readonly id: string };
  readonly deleted?: string;
}

function targetOf({ token, webhook, deleted }: Administered): string {
  return token ? `token:${token.id}` : `webhook:${webhook?.id ?? deleted}`;
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}

function requestOf(id: string, command: Command, decoyUrl: string): Request {
  const reason = reasonOf(id, "scope" in command ? command.scope : undefined);
  const post = (path: string, body: object): Request => ({ method: "POST", path, body });
  switch (command.kind) {
    case "start":
      return post(`/v1/aliases/${command.agent}/rollout`, { candidate: command.candidate, reason });
    case "forward":
      return post(`/v1/aliases/${command.agent}/roll-forward`, { version: command.candidate, reason });
    case "rollback":
      return post(`/v1/aliases/${command.agent}/rollback`, { reason });
    case "unlock":
      return post(`/v1/aliases/${command.agent}/unlock`, {
        version: command.version,
        reason,
        rootCause: "a chaos run",
      });
    case "engage":
    case "release":
      return post(`/v1/kill-switches/${WRITE_SWITCH}/${command.kind}`, { scope: command.scope, reason });
    case "stop":
      return post("/v1/stop", { reason });
    case "bulk":
      return { method: "PUT", path: `/v1/aliases/${BULK}`, body: { salt: id } };
    case "feedback": {
      const { agent } = command;
      return post("/v1/feedback", {
        feedback: [{ id, runId: id, alias: agent, version: stableOf(agent), quality: 1 }],
      });
    }
    case "token":
      return post("/v1/tokens", { role: "viewer", name: id });
    case "webhook":
      return post("/v1/webhooks", { url: decoyUrl });
    case "removeWebhook":
      return { method: "DELETE", path: `/v1/webhooks/${command.id}` };
  }
}
