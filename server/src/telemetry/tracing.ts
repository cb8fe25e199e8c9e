/**
 * Spans for OpenTelemetry. Where the process has no OpenTelemetry SDK, each call here does nothing.
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TimeInput,
  trace,
} from "@opentelemetry/api";

export { type Context, type Span, SpanKind } from "@opentelemetry/api";

/** Where a trace goes on: headers such as `traceparent` (W3C Trace Context). */
export type TraceCarrier = Readonly<Record<string, string>>;

export interface SpanOptions {
  readonly kind?: SpanKind;
  readonly startTime?: TimeInput;
  readonly attributes?: Attributes;
}

/** Begins a span. What belongs to it goes on in its context. */
export function beginSpan(
  name: string,
  options: SpanOptions,
  parent: Context = ROOT_CONTEXT,
): { readonly span: Span; readonly context: Context } {
  const span = trace.getTracer("flagback").startSpan(name, options, parent);
  return { span, context: trace.setSpan(parent, span) };
}

/** Begins the span of a request that comes in: within one that the process has already begun for it, else its caller's. */
export function beginRequestSpan(
  name: string,
  headers: object,
  attributes: Attributes,
): { readonly span: Span; readonly context: Context } {
  const active = context.active();
  if (trace.getSpan(active)) return beginSpan(name, { attributes }, active);
  return beginSpan(name, { kind: SpanKind.SERVER, attributes }, propagation.extract(ROOT_CONTEXT, headers));
}

/** Does work within a span of its own. */
export async function withinSpan<Result>(
  name: string,
  options: SpanOptions,
  parent: Context | undefined,
  work: (context: Context) => Promise<Result>,
): Promise<Result> {
  const { span, context } = beginSpan(name, options, parent);
  try {
    return await work(context);
  } catch (error) {
    failSpan(span, (error as Error).message);
    throw error;
  } finally {
    span.end();
  }
}

export function failSpan(span: Span, message: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}

/** How to go on with the trace elsewhere, without what else its caller sent along. Undefined where nobody traces. */
export function carrierOf(from: Context | undefined): TraceCarrier | undefined {
  const span = from && trace.getSpan(from);
  if (!span || !trace.isSpanContextValid(span.spanContext())) return undefined;
  const carrier: Record<string, string> = {};
  propagation.inject(trace.setSpan(ROOT_CONTEXT, span), carrier);
  return carrier;
}

export function contextOf(carrier: TraceCarrier | undefined): Context {
  return carrier ? propagation.extract(ROOT_CONTEXT, carrier) : ROOT_CONTEXT;
}
