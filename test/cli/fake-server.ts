/** An HTTP server that answers what a test says, and remembers what it was asked. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly body: unknown;
}

/** Answers with `answer`, for the test that calls it. */
export async function fakeServer(answer: (asked: Asked) => Answer): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://fake");
    const one: Asked = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: await text(request),
    };
    asked.push(one);
    const { status = 200, type = "application/json", body } = answer(one);
    response.writeHead(status, { "content-type": type, connection: "close" });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.close();
    await once(server, "close");
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** A refusal as the server writes it (RFC 9457). */
export function problem(status: number, code: string, detail: string, hint: string): Answer {
  return {
    status,
    type: "application/problem+json",
    body: { type: "about:blank", title: code, status, detail, code, hint },
  };
}

export function changeAnswer(summary: string): Answer {
  return { body: { revision: 7, change: { status: "done", action: "test", summary, auditId: 3 } } };
}
