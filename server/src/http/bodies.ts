/**
 * Gives a place to each request whose body is on its way. A body is held until it is whole, so what slow ones cost is bounded; and
 * strangers can't take the places of those whose token is known.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { DoorLimits } from "../limits.ts";
import { busy } from "./retry-later.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Who sends a body: the holder of a token, or an address of which nothing is known yet. */
export type BodySender = { readonly tokenId: string } | { readonly address: string };

export class Bodies {
  readonly #ofTokens: WaitingRoom;
  readonly #ofStrangers: WaitingRoom;
  readonly #requests = new Map<string, IncomingMessage>();
  readonly #patienceMs: number;
  readonly #monotonicMs: () => number;
  readonly #dropped: () => void;
  #count = 0;

  constructor(parts: {
    readonly limits: DoorLimits;
    readonly monotonicMs: () => number;
    readonly dropped: () => void;
  }) {
    const { limits } = parts;
    this.#patienceMs = limits.waitingPatienceMs;
    this.#ofTokens = new WaitingRoom({
      places: limits.maxBodies,
      placesPerSender: limits.maxBodiesPerToken,
      patienceMs: this.#patienceMs,
    });
    this.#ofStrangers = new WaitingRoom({
      places: limits.maxStrangersBodies,
      placesPerSender: limits.maxStrangersBodiesPerSender,
      patienceMs: this.#patienceMs,
    });
    this.#monotonicMs = parts.monotonicMs;
    this.#dropped = parts.dropped;
  }

  /** Before anything of the body is read. @throws RetryLater `overloaded` where every place is taken by one that came just now */
  expect(request: IncomingMessage, response: ServerResponse, sender: BodySender): void {
    if (!hasBody(request)) return;
    const [room, name] = "tokenId" in sender ? [this.#ofTokens, sender.tokenId] : [this.#ofStrangers, sender.address];
    const id = String(++this.#count);
    const seated = room.enter(id, name, this.#monotonicMs());
    if (!seated.isSeated) {
      this.#dropped();
      throw busy("As many bodies are on their way as the server takes at once.", this.#patienceMs);
    }
    if (seated.pushedOut !== undefined) {
      this.#dropped();
      this.#requests.get(seated.pushedOut)?.destroy();
    }
    this.#requests.set(id, request);
    const leave = () => {
      room.leave(id);
      this.#requests.delete(id);
    };
    // Whole, or cut off.
    request.once("close", leave);
    // Answered before it was whole: the rest is thrown away, and where the socket closes first the request never does.
    response.once("close", leave);
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
}
