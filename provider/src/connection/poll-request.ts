/**
 * One request of the poll path. Its answer's size is bounded here; how long it may take is the caller's to decide.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Cursor } from "@flagback/schemas";
import { MAX_SERVER_FRAME_BYTES } from "../limits.ts";
import type { PollResult } from "./state.ts";

export interface PollRequest {
  readonly nonce: string;
  /** What we have applied; null asks for everything. */
  readonly cursor: Cursor | null;
}

export interface PollerOptions {
  readonly snapshotUrl: string;
  readonly token: string;
  readonly instance: string;
  readonly sdk: string;
}

export class Poller {
  readonly #options: PollerOptions;
  readonly #isSecure: boolean;
  readonly #agent: HttpAgent;
  #abort: (() => void) | null = null;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#isSecure = options.snapshotUrl.startsWith("https:");
    const kept = { keepAlive: true, maxSockets: 1 };
    this.#agent = this.#isSecure ? new HttpsAgent(kept) : new HttpAgent(kept);
  }

  /** Asks. `done` is called once, later, unless the request is abandoned before. The token goes into a header. */
  ask({ nonce, cursor }: PollRequest, done: (result: PollResult) => void): void {
    this.abandon();
    let isOver = false;
    const finish = (result: PollResult) => {
      if (isOver) return;
      isOver = true;
      this.#abort = null;
      done(result);
    };
    const fail = (detail: string) => finish({ kind: "failure", detail });
    try {
      const send = this.#isSecure ? httpsRequest : httpRequest;
      const request = send(this.#urlOf(nonce, cursor), { agent: this.#agent, headers: this.#headersOf(cursor) });
      this.#abort = () => {
        isOver = true;
        request.destroy();
      };
      request.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
      request.on("response", (response) => {
        const { statusCode: status = 0 } = response;
        const headers = Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
        );
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_SERVER_FRAME_BYTES) {
            fail(`an answer of more than ${MAX_SERVER_FRAME_BYTES} bytes`);
            request.destroy();
          } else if (status === 200) chunks.push(chunk);
        });
        response.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
        response.on("end", () => {
          finish({ kind: "response", status, headers, text: Buffer.concat(chunks).toString("utf8") });
        });
        response.on("close", () => fail("the answer broke off"));
      });
      request.end();
    } catch (error) {
      // Such as a token with a line break. The message may quote the header, so it is not repeated.
      queueMicrotask(() => fail(`the request can't be made (${(error as NodeJS.ErrnoException).code})`));
    }
  }

  /** Drops the request under way; its answer is not heard. */
  abandon(): void {
    this.#abort?.();
    this.#abort = null;
  }

  /** Leaves no socket behind. A later `ask` opens a new one. */
  close(): void {
    this.abandon();
    this.#agent.destroy();
  }

  #urlOf(nonce: string, cursor: Cursor | null): string {
    const after = cursor === null ? "" : `after=${cursor.revision}&`;
    return `${this.#options.snapshotUrl}?${after}lease=${nonce}`;
  }

  #headersOf(cursor: Cursor | null): Record<string, string> {
    const { token, instance, sdk } = this.#options;
    return {
      authorization: `Bearer ${token}`,
      accept: "application/json",
      "cache-control": "no-cache",
      "flagback-instance": instance,
      "flagback-sdk": sdk,
      ...(cursor !== null && { "flagback-epoch": cursor.epoch, "flagback-mark": cursor.mark }),
    };
  }
}
