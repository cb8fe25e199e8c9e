/**
 * A runtime written from the protocol alone, to see what the server really sends and to send what no provider would.
 */
import { randomBytes } from "node:crypto";
import { decodeServerFrame, type ServerMessage, SUBPROTOCOL } from "@flagback/schemas";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";

export type MessageOf<Type extends ServerMessage["type"]> = Extract<ServerMessage, { type: Type }>;

export class RawRuntime {
  readonly instance: string;
  readonly received: ServerMessage[] = [];
  readonly #socket: WebSocket;
  #closeCode: number | undefined;
  readonly #wake: (() => void)[] = [];

  constructor(url: string, token: string, instance = randomBytes(16).toString("hex")) {
    this.instance = instance;
    this.#socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/stream`, [SUBPROTOCOL], {
      headers: { authorization: `Bearer ${token}` },
    });
    this.#socket.on("message", (data) => {
      const decoded = decodeServerFrame(data.toString());
      if (decoded.kind !== "message") throw new Error(`the server sent ${decoded.kind}: ${data.toString()}`);
      this.received.push(decoded.message);
      this.#ring();
    });
    this.#socket.on("close", (code) => {
      this.#closeCode = code;
      this.#ring();
    });
    this.#socket.on("error", () => this.#ring());
    onTestFinished(() => this.#socket.terminate());
  }

  /** Connects and says hello; answers the server's hello. */
  static async connect(url: string, token: string, options: { instance?: string; resume?: object } = {}) {
    const runtime = new RawRuntime(url, token, options.instance);
    await runtime.opened();
    runtime.send({
      type: "hello",
      instance: runtime.instance,
      sdk: "raw",
      ...(options.resume ? { resume: options.resume } : {}),
    });
    await runtime.next("hello");
    return runtime;
  }

  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once("open", resolve);
      this.#socket.once("error", reject);
    });
  }

  send(message: unknown): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The first message of the type that meets the condition, received already or yet to come. */
  async next<Type extends ServerMessage["type"]>(
    type: Type,
    condition: (message: MessageOf<Type>) => boolean = () => true,
    timeoutMs = 20_000,
  ): Promise<MessageOf<Type>> {
    const find = () =>
      this.received.find((each): each is MessageOf<Type> => each.type === type && condition(each as MessageOf<Type>));
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = find();
      if (found) return found;
      if (this.#closeCode !== undefined) throw new Error(`closed with ${this.#closeCode} before a ${type}`);
      await this.#change(deadline, `a ${type}`);
    }
  }

  /** The code that the socket was closed with. */
  async closeCode(timeoutMs = 20_000): Promise<number> {
    const deadline = performance.now() + timeoutMs;
    while (this.#closeCode === undefined) await this.#change(deadline, "a close");
    return this.#closeCode;
  }

  /** From here on the socket stays open and nothing is read from it, as on a host whose network died. */
  stopReading(): void {
    this.#socket.pause();
  }

  close(): void {
    this.#socket.close();
  }

  /** Reads nothing any more, so that pings stay unanswered, as of a host that vanished. */
  fallSilent(): void {
    this.#socket.pause();
  }

  /** Ends the connection as a killed process does, without a close frame. */
  cut(): void {
    this.#socket.terminate();
  }

  #change(deadline: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`did not come in time: ${what}`)),
        Math.max(0, deadline - performance.now()),
      );
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #ring(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
