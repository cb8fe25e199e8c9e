/**
 * Requests that are held until something happens, such as the next audit row. Each has a place: how many there may be at once is
 * bounded, also of one token, and where all are taken the one that was held longest is answered before its time.
 */
import type { IncomingMessage } from "node:http";
import type { DoorLimits } from "../limits.ts";
import { busy } from "./retry-later.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** What is held: a request whose token is known. */
export interface Holdable {
  readonly token: { readonly id: string };
  readonly raw: Pick<IncomingMessage, "socket">;
}

/** Begins to listen for what a request waits for; answers how to stop. */
export type Listen = (wake: () => void) => () => void;

export class HeldRequests {
  readonly #room: WaitingRoom;
  readonly #patienceMs: number;
  readonly #monotonicMs: () => number;
  readonly #dropped: () => void;
  /** How each of them ends. */
  readonly #wakes = new Map<string, () => void>();
  #count = 0;
  #isClosed = false;

  constructor(parts: {
    readonly limits: Pick<DoorLimits, "maxHeldRequests" | "maxHeldRequestsPerToken" | "waitingPatienceMs">;
    readonly monotonicMs: () => number;
    readonly dropped: () => void;
  }) {
    const { limits } = parts;
    this.#patienceMs = limits.waitingPatienceMs;
    this.#room = new WaitingRoom({
      places: limits.maxHeldRequests,
      placesPerSender: limits.maxHeldRequestsPerToken,
      patienceMs: this.#patienceMs,
    });
    this.#monotonicMs = parts.monotonicMs;
    this.#dropped = parts.dropped;
  }

  /** Resolves as `holdIfRoom`. @throws RetryLater `overloaded` where every place is taken by one that came just now */
  async hold(request: Holdable, timeoutMs: number, listen: Listen): Promise<void> {
    if (await this.holdIfRoom(request, timeoutMs, listen)) return;
    throw busy("As many requests wait for something as the server holds at once.", this.#patienceMs);
  }

  /**
   * Resolves when it is woken or its time is over, when its reader has gone or another needs its place, and when the server
   * stops; at once and with false where there is no place.
   */
  async holdIfRoom({ token, raw: { socket } }: Holdable, timeoutMs: number, listen: Listen): Promise<boolean> {
    if (this.#isClosed || socket.destroyed) return true;
    const id = String(++this.#count);
    const seated = this.#room.enter(id, token.id, this.#monotonicMs());
    if (!seated.isSeated || seated.pushedOut !== undefined) this.#dropped();
    if (!seated.isSeated) return false;
    if (seated.pushedOut !== undefined) this.#wakes.get(seated.pushedOut)?.();
    let wake = () => {};
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    this.#wakes.set(id, wake);
    const timer = setTimeout(wake, timeoutMs);
    // One for each request that the socket pipelines, which are bounded.
    socket.setMaxListeners(0).once("close", wake);
    const forget = listen(wake);
    await woken;
    forget();
    socket.off("close", wake);
    clearTimeout(timer);
    this.#wakes.delete(id);
    this.#room.leave(id);
    return true;
  }

  /** Lets everybody go, and nobody wait again. */
  close(): void {
    this.#isClosed = true;
    for (const wake of this.#wakes.values()) wake();
  }
}
