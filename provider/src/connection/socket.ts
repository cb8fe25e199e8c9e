/**
 * One WebSocket to the server: opened, listened to, ended exactly once.
 */
import type { IncomingMessage } from "node:http";
import { SUBPROTOCOL } from "@flagback/schemas";
import { WebSocket } from "ws";
import { CLOSE_HANDSHAKE_MS, MAX_SERVER_FRAME_BYTES } from "../limits.ts";
import { describeRefusal } from "./refusal.ts";
import type { SocketEnd } from "./state.ts";

export interface SocketEvents {
  opened(): void;
  frame(text: string): void;
  ping(): void;
  /** Comes once, whatever happened, also when the socket could not even be made. */
  ended(end: SocketEnd): void;
}

export interface StreamSocket {
  send(text: string): void;
  /** Says goodbye with a close frame. */
  close(code: number, reason: string): void;
  /** Drops a socket that may be dead. */
  terminate(): void;
}

/** Opens the stream. The token goes into a header, never into the URL. How long it may take is the caller's to decide. */
export function openSocket(streamUrl: string, token: string, events: SocketEvents): StreamSocket {
  let isOver = false;
  const end = (how: SocketEnd) => {
    if (isOver) return;
    isOver = true;
    events.ended(how);
  };
  let socket: WebSocket;
  try {
    socket = new WebSocket(streamUrl, SUBPROTOCOL, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      maxPayload: MAX_SERVER_FRAME_BYTES,
    });
  } catch (error) {
    // Such as a token with a line break. The message may quote the header, so it is not repeated.
    queueMicrotask(() => end({ detail: `the request can't be made (${(error as NodeJS.ErrnoException).code})` }));
    return { send() {}, close() {}, terminate() {} };
  }
  let lastError = "";
  socket.on("open", () => {
    if (!isOver) events.opened();
  });
  socket.on("message", (data, isBinary) => {
    // A binary frame is no frame of ours; its text is not JSON and gets the answer that it deserves.
    if (!isOver) events.frame(isBinary ? "binary" : data.toString());
  });
  socket.on("ping", () => {
    if (!isOver) events.ping();
  });
  socket.on("unexpected-response", (request, response) => {
    request.destroy();
    end(describeResponse(response));
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    lastError = error.code ?? error.message;
  });
  socket.on("close", (code, reason) => {
    const said = reason.toString();
    end({ code, detail: lastError || (said ? `closed with ${code}: ${said}` : `closed with ${code}`) });
  });
  return {
    send: (text) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close: (code, reason) => {
      socket.close(code, reason);
      const unanswered = setTimeout(() => socket.terminate(), CLOSE_HANDSHAKE_MS);
      unanswered.unref();
      socket.on("close", () => clearTimeout(unanswered));
    },
    terminate: () => socket.terminate(),
  };
}

function describeResponse(response: IncomingMessage): SocketEnd {
  const httpStatus = response.statusCode ?? 0;
  return { httpStatus, detail: `HTTP ${httpStatus}`, ...describeRefusal(response.headers) };
}
