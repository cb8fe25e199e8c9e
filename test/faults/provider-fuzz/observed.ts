/**
 * What passed the gateway, as events of a runtime's history. Pure.
 */
import type { IncomingHttpHeaders } from "node:http";
import { type Decoded, decodeRuntimeFrame, decodeServerFrame, type ServerMessage, Snapshot } from "@flagback/schemas";
import type { HttpAnswer } from "../../support/frame-gateway.ts";
import type { Cursor, RuntimeEvent } from "./history.ts";

/** The event of a text to the runtime; null where it must be ignored, as an unknown type. */
export function sentEvent(link: number, text: string | null, atMs: number): RuntimeEvent | null {
  const decoded = text === null ? null : serverMessage(text);
  switch (decoded?.kind) {
    case "message":
      return { kind: "sent", link, message: decoded.message, atMs };
    case "unknown_type":
      return null;
    default:
      return { kind: "sent", link, message: null, atMs };
  }
}

export function heardEvent(link: number, text: string, atMs: number): RuntimeEvent {
  const decoded = decodeRuntimeFrame(text);
  if (decoded.kind === "message") return { kind: "heard", link, message: decoded.message, atMs };
  return { kind: "escaped", where: "the stream", error: `the provider sent ${JSON.stringify(decoded)}: ${text}` };
}

/** The event of a request beside the stream; null where it is not one of the poll path. */
export function polledEvent(path: string, headers: IncomingHttpHeaders, atMs: number): RuntimeEvent | null {
  const url = new URL(path, "http://any");
  const nonce = url.searchParams.get("lease");
  if (url.pathname !== "/v1/snapshot" || nonce === null) return null;
  const after = url.searchParams.get("after");
  const [epoch, mark] = [headers["flagback-epoch"], headers["flagback-mark"]];
  const cursor: Cursor | null =
    after !== null && typeof epoch === "string" && typeof mark === "string"
      ? { epoch, revision: Number(after), mark }
      : null;
  return { kind: "polled", nonce, cursor, atMs };
}

/** The event of an answer on the poll path; null where nobody can use it. */
export function pollAnsweredEvent({ status, headers, text }: HttpAnswer): RuntimeEvent | null {
  const nonce = headers["flagback-lease"];
  if (nonce === undefined || (status !== 200 && status !== 304)) return null;
  const head = {
    epoch: headers["flagback-epoch"] ?? "",
    revision: Number(headers["flagback-revision"]),
    mark: headers["flagback-mark"] ?? "",
    leaseMs: Number(headers["flagback-lease-ms"]),
  };
  return { kind: "pollAnswered", nonce, head, snapshot: status === 200 ? Snapshot.parse(JSON.parse(text)) : null };
}

/** A line for people who look for what led to a violation. */
export function describeEvent(event: RuntimeEvent): string {
  switch (event.kind) {
    case "opened":
      return `link ${event.link} opened`;
    case "sent":
      return `link ${event.link} <- ${event.message === null ? "no protocol" : summary(event.message)}`;
    case "heard": {
      const { type, ...rest } = event.message;
      return `link ${event.link} -> ${type} ${JSON.stringify(rest).slice(0, 160)}`;
    }
    case "polled":
      return `poll ${event.nonce} after ${event.cursor?.revision ?? "nothing"}`;
    case "pollAnswered":
      return `poll ${event.nonce} <- ${event.head.revision}${event.snapshot ? " with a snapshot" : ""}`;
    case "restarted":
      return "restarted";
    case "status":
      return `status ${event.status}`;
    case "answered":
      return `answered ${JSON.stringify(event.answer)}`;
    case "escaped":
      return `escaped: ${event.where}`;
  }
}

function summary(message: ServerMessage): string {
  const { type, ...rest } = message;
  switch (message.type) {
    case "snapshot":
      return `snapshot ${message.epoch.slice(0, 6)} ${message.revision} ${aliases(message.documents)}`;
    case "delta":
      return `delta ${message.from} to ${message.revision} ${aliases(message.put)}`;
    default:
      return `${type} ${JSON.stringify(rest).slice(0, 200)}`;
  }
}

function aliases(documents: Snapshot["documents"]): string {
  return documents.map((each) => (each.kind === "alias" ? JSON.stringify(each.allocation) : each.kind)).join(" ");
}

/** Frames can be nested deeper than the stack that decodes them. */
function serverMessage(text: string): Decoded<ServerMessage> {
  try {
    return decodeServerFrame(text);
  } catch (error) {
    return { kind: "malformed", problem: String(error) };
  }
}
