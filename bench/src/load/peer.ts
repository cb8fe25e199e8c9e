/**
 * A process of a benchmark, spoken to by questions and answers over IPC. It ends with the benchmark, however that ends.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** How long a process may take to end by itself before it is killed. */
const GRACE_MS = 5_000;

interface Question {
  readonly id: number;
  readonly name: string;
  readonly input: unknown;
}
interface Answer {
  readonly id: number;
  readonly output?: unknown;
  readonly error?: string;
}

/** What a process can be asked, by name. Inputs and outputs cross as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each side of the IPC knows the types of its own questions.
export type Skills = Readonly<Record<string, (input: any) => unknown>>;

/** In the child: answers until the parent goes away. */
export function serve(skills: Skills): void {
  process.on("message", async ({ id, name, input }: Question) => {
    let answer: Answer;
    try {
      const skill = skills[name];
      if (!skill) throw new Error(`there is no ${name}`);
      answer = { id, output: await skill(input) };
    } catch (error) {
      answer = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send?.(answer);
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ id: 0 });
}

export class Peer<Asked extends Skills> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(output: unknown): void; reject(error: Error): void }>();
  #asked = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", ({ id, output, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(output);
      else waiting?.reject(new Error(error));
    });
    child.on("exit", (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the process ended (${code ?? signal})`));
      this.#waiting.clear();
    });
  }

  /** Starts a file of this folder. `nodeOptions` go to Node. */
  static async start<Asked extends Skills>(file: string, nodeOptions: readonly string[] = []): Promise<Peer<Asked>> {
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), {
      execArgv: ["--conditions=flagback:source", "--import", "tsx", ...nodeOptions],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const peer = new Peer<Asked>(child);
    await new Promise<void>((resolve, reject) => {
      peer.#waiting.set(0, { resolve: () => resolve(), reject });
    });
    return peer;
  }

  ask<Name extends keyof Asked & string>(
    name: Name,
    ...[input]: Parameters<Asked[Name]>
  ): Promise<Awaited<ReturnType<Asked[Name]>>> {
    this.#asked += 1;
    const id = this.#asked;
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.send({ id, name, input } satisfies Question);
    // The other end answers with what its skill of this name returns.
    return answered as Promise<Awaited<ReturnType<Asked[Name]>>>;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** SIGKILL, as when the kernel runs out of memory. */
  async kill(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    if (this.#child.connected) this.#child.disconnect();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), GRACE_MS);
    await ended;
    clearTimeout(late);
  }
}
