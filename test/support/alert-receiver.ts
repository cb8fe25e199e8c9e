/**
 * A receiver of webhooks on a port of its own, which keeps what it takes and answers what the test says.
 */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** What it was answered. */
  readonly status: number;
}

export interface Receiver {
  readonly url: string;
  /** Everything that came, also what was refused. */
  readonly received: readonly Received[];
  /** What is taken from now on is answered with. */
  answer: (body: string) => number | Promise<number>;
}

export async function alertReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const http = createServer(async (request, response) => {
    const body = await text(request);
    const status = await receiver.answer(body);
    received.push({ headers: request.headers, body, status });
    response.writeHead(status).end();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  onTestFinished(async () => {
    http.close();
    http.closeAllConnections();
    await once(http, "close");
  });
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/hook`,
    received,
    answer: (_body: string) => 204,
  };
  return receiver;
}
