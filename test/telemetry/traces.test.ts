/** A real OpenTelemetry SDK in the process sees one tree for each change, from its caller to the webhook. */
import { createServer } from "node:http";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { beginRequestSpan } from "../../server/src/telemetry/tracing.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { ALIAS, CANDIDATE, exposing, failures } from "../support/rollout.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";
/** The example of W3C Trace Context, section 3.2. */
const TRACEPARENT = `00-${TRACE_ID}-${CALLER}-01`;

interface Told {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Readonly<Record<string, unknown>>;
}

describe("with an SDK", () => {
  const exporter = new InMemorySpanExporter();
  beforeEach(() => {
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  });
  afterEach(() => {
    exporter.reset();
    for (const api of [trace, context, propagation]) api.disable();
  });
  const spansOf = (traceId: string) =>
    exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
  /** Resolves when so many spans of the trace have ended. */
  const ended = (traceId: string, n: number) =>
    eventually(`${n} spans have ended`, () => spansOf(traceId).length === n && spansOf(traceId));

  test("a change by HTTP goes on with its caller's trace, until every runtime has it and the webhook was told", async () => {
    const server = await testServer();
    const told = await webhook(server);
    const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
    const headers = { traceparent: TRACEPARENT, baggage: "secret=planted", "x-request-id": "r-1" };
    const stopped = await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "x" }, { headers });
    const { revision } = stopped.body;
    await runtime.next("delta", (delta) => delta.revision >= revision);
    await eventually("the webhook is told", () => told.length === 1);
    expect(spansOf(TRACE_ID).map(({ name }) => name)).not.toContain("flagback.propagate");
    runtime.send({ type: "applied", revision, appliedAfterMs: 1 });

    const spans = await ended(TRACE_ID, 4);
    expect(treeOf(spans, CALLER)).toEqual({
      "POST /v1/stop": { "flagback.commit": { "flagback.propagate": {} }, "flagback.alert": {} },
    });
    const request = named(spans, "POST /v1/stop");
    expect(request.kind).toBe(SpanKind.SERVER);
    expect(request.attributes).toMatchObject({
      "http.route": "/v1/stop",
      "http.response.status_code": 200,
      "flagback.request_id": "r-1",
    });
    expect(named(spans, "flagback.propagate").attributes).toMatchObject({
      "flagback.revision": revision,
      "flagback.runtimes": 1,
      "flagback.acknowledged": 1,
      "flagback.converged": true,
    });
    const delivery = named(spans, "flagback.alert");
    expect(delivery.kind).toBe(SpanKind.CLIENT);
    // The receiver can go on with the trace, and hears nothing else that the caller sent along.
    expect(told[0]?.headers.traceparent).toBe(`00-${TRACE_ID}-${delivery.spanContext().spanId}-01`);
    expect(JSON.stringify(told[0])).not.toContain("planted");
    expect(told[0]?.body).toEqual({ kind: "stop", text: expect.any(String), timestamp: expect.any(String) });
  });

  test("a rollback by the brain is a trace of its own, from the outcome that completed the evidence", async () => {
    const setup = await exposing();
    await webhook(setup.server);
    const reporter = await setup.runtime();
    await reporter.report({ candidate: failures(3) });
    const { revision = 0, decisionId, incident } = await setup.rolledBack();
    reporter.raw.send({ type: "applied", revision, appliedAfterMs: 1 });
    const decided = await eventually("it is decided", () =>
      exporter.getFinishedSpans().find(({ name }) => name === "flagback.decide"),
    );
    const spans = await ended(decided.spanContext().traceId, 4);
    expect(treeOf(spans, undefined)).toEqual({
      "flagback.decide": { "flagback.commit": { "flagback.propagate": {} }, "flagback.alert": {} },
    });
    expect(decided.attributes).toMatchObject({ "flagback.alias": ALIAS, "flagback.candidate": CANDIDATE });
    const ids = { "flagback.decision_id": decisionId, "flagback.incident": incident, "flagback.revision": revision };
    expect(named(spans, "flagback.commit").attributes).toMatchObject({ "flagback.action": "rollback", ...ids });
    expect(named(spans, "flagback.propagate").attributes).toMatchObject(ids);
    expect(named(spans, "flagback.alert").attributes).toMatchObject({ "flagback.incident": incident });
    const startOf = (span: ReadableSpan) => span.startTime[0] * 1e9 + span.startTime[1];
    expect(startOf(decided)).toBeLessThanOrEqual(startOf(named(spans, "flagback.commit")));
  });

  test("within a span that somebody began for the request already, ours is its child", () => {
    const outer = trace.getTracer("test").startSpan("outer");
    const { traceId, spanId } = outer.spanContext();
    context.with(trace.setSpan(context.active(), outer), () => {
      beginRequestSpan("POST /v1/stop", { traceparent: TRACEPARENT }, {}).span.end();
    });
    expect(treeOf(spansOf(traceId), spanId)).toEqual({ "POST /v1/stop": {} });
    expect(named(spansOf(traceId), "POST /v1/stop").kind).toBe(SpanKind.INTERNAL);
  });

  test("an alert that is delivered after a restart belongs to the trace of its change, each attempt as a span", async () => {
    const first = await testServer();
    await first.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:1/" });
    const headers = { traceparent: TRACEPARENT };
    await first.call("POST", "/v1/stop", { reason: "x" }, { headers });
    const [failed] = await eventually("the first attempt fails", () => {
      const attempts = spansOf(TRACE_ID).filter(({ name }) => name === "flagback.alert");
      return attempts.length > 0 && attempts;
    });
    expect(failed?.status.code).toBe(SpanStatusCode.ERROR);
    exporter.reset();
    await first.restart();
    const [again] = await eventually("it is tried again", () => {
      const attempts = spansOf(TRACE_ID).filter(({ name }) => name === "flagback.alert");
      return attempts.length > 0 && attempts;
    });
    expect(again?.attributes).toMatchObject({ "flagback.attempt": 2 });
  });

  test("reading and reporting make no spans, and a refused change has its status", async () => {
    const setup = await exposing();
    exporter.reset();
    const headers = { traceparent: TRACEPARENT };
    await setup.server.call("GET", "/v1/aliases", undefined, { headers });
    await setup.server.call("GET", "/metrics", undefined, { headers });
    await setup.reportByHttp([{ runId: "one" }]);
    await setup.server.call("POST", "/v1/aliases/nobody/rollback", { reason: "x" }, { headers });
    const [refused] = await ended(TRACE_ID, 1);
    expect(refused).toMatchObject({ name: "POST /v1/aliases/:name/rollback", status: { code: SpanStatusCode.UNSET } });
    expect(refused?.attributes["http.response.status_code"]).toBe(404);
    expect(exporter.getFinishedSpans()).toHaveLength(1);
  });

  test("a server that stops ends the spans of changes that are still on their way", async () => {
    const server = await testServer({ leaseMs: 60_000 });
    const runtime = await RawRuntime.connect(server.url, await server.token("runtime"));
    runtime.send({ type: "lease", id: 1 });
    await runtime.next("lease");
    const { body } = await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "x" }, TRACED);
    expect(spansOf(TRACE_ID).map(({ name }) => name)).not.toContain("flagback.propagate");
    await server.close();
    const [spreading] = spansOf(TRACE_ID).filter(({ name }) => name === "flagback.propagate");
    expect(spreading?.attributes).toMatchObject({ "flagback.revision": body.revision, "flagback.converged": false });
  });
});

test("without an SDK nothing is sent along and nothing is kept", async () => {
  const server = await testServer();
  const told = await webhook(server);
  await server.call("POST", "/v1/stop", { reason: "x" }, TRACED);
  await eventually("the webhook is told", () => told.length === 1);
  expect(told[0]?.headers.traceparent).toBeUndefined();
  expect(told[0]?.body).toEqual({ kind: "stop", text: expect.any(String), timestamp: expect.any(String) });
});

const TRACED = { headers: { traceparent: TRACEPARENT } };

interface Tree {
  [name: string]: Tree;
}

/** Names of the spans below a parent. */
function treeOf(spans: readonly ReadableSpan[], parent: string | undefined): Tree {
  const children = spans.filter((span) => span.parentSpanContext?.spanId === parent);
  return Object.fromEntries(children.map((span) => [span.name, treeOf(spans, span.spanContext().spanId)]));
}

function named(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const found = spans.find((span) => span.name === name);
  if (!found) throw new Error(`there is no span ${name}`);
  return found;
}

/** Adds a webhook, and answers what it is told. */
async function webhook(server: TestServer): Promise<readonly Told[]> {
  const told: Told[] = [];
  const receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      told.push({ headers: request.headers, body: JSON.parse(text) });
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  await server.call("POST", "/v1/webhooks", {
    url: `http://127.0.0.1:${(receiver.address() as { port: number }).port}/`,
  });
  return told;
}
