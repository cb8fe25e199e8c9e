/**
 * One server after the other on the same folder and port, each in a process of its own and most of them killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build, type PluginBuild } from "esbuild";
import { quietPort } from "../../support/quiet-port.ts";
import { machineMs } from "../lease-bound/machine-clock.ts";
import type { ChaosEvent } from "./history.ts";
import type { ServerCommand, ServerWord } from "./server-main.ts";

const SERVER = fileURLToPath(new URL("server-main.ts", import.meta.url));
/** Where imports of packages resolve. */
const BUNDLES = fileURLToPath(new URL("../../../node_modules/.cache/flagback/", import.meta.url));

/** Our sources in one file, because a server starts twice as fast from it. */
export async function bundleServer(): Promise<string> {
  const outfile = join(BUNDLES, `chaos-server-${process.pid}.mjs`);
  await build({
    entryPoints: [SERVER],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["flagback:source"],
    plugins: [{ name: "packages-stay-outside", setup: keepPackagesOutside }],
  });
  return outfile;
}

function keepPackagesOutside({ onResolve }: PluginBuild): void {
  onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
    const isOurs = kind === "entry-point" || path === "flagback" || path.startsWith("@flagback/");
    return isOurs ? null : { path, external: true };
  });
}

export class ChaosServer {
  readonly #file: string;
  readonly #dataDir: string;
  readonly #record: (event: ChaosEvent) => void;
  #child: ChildProcess | null = null;
  #url = "";
  /** Kept from the first start on; 0 until it is known. */
  #port = 0;
  #adminToken = "";
  #isDiskBroken = false;
  /** It was, or is, while the present server lives, which may therefore refuse to start. */
  #hadABrokenDisk = false;

  /** @param file what {@link bundleServer} made */
  constructor(file: string, dataDir: string, record: (event: ChaosEvent) => void) {
    this.#file = file;
    this.#dataDir = dataDir;
    this.#record = record;
  }

  /** The same for every start. */
  get url(): string {
    return this.#url;
  }

  get adminToken(): string {
    return this.#adminToken;
  }

  /**
   * Starts one and resolves when it listens, or when it has ended before that: killed at its failpoint, or because its disk is
   * broken, where that is known.
   */
  async start(failpoint: string | null = null): Promise<void> {
    if (this.#port === 0) this.#port = await quietPort(Math.random);
    const child = spawn(process.execPath, [this.#file], {
      stdio: ["ignore", "inherit", "pipe", "ipc"],
      env: {
        ...process.env,
        FLAGBACK_FAILPOINT: failpoint ?? "",
        CHAOS_DATA_DIR: this.#dataDir,
        CHAOS_PORT: String(this.#port),
      },
    });
    this.#child = child;
    this.#hadABrokenDisk = this.#isDiskBroken;
    let refusal: string | null = null;
    void this.#watchLog(child);
    const ended = once(child, "exit").then(([code, signal]) => {
      this.#child = null;
      this.#record({ kind: "serverEnded", atMs: machineMs(), signal });
      if (signal !== null || (this.#hadABrokenDisk && refusal === "database_unavailable")) return;
      this.#record({
        kind: "escaped",
        atMs: machineMs(),
        who: "the server",
        detail: `it ended with ${refusal ?? code}`,
      });
    });
    const said = new Promise<void>((resolve) => {
      child.once("message", (word: ServerWord) => {
        if (word.kind === "refuses") {
          refusal = word.code;
          return;
        }
        this.#url = word.url;
        this.#port = Number(new URL(word.url).port);
        this.#adminToken ||= word.adminToken ?? "";
        this.#record({ kind: "serverStarted", atMs: machineMs(), failpoint });
        resolve();
      });
    });
    await Promise.race([said, ended]);
  }

  /** Resolves when the present server has ended. */
  async ended(): Promise<void> {
    if (this.#child) await once(this.#child, "exit");
  }

  diskBreaks(): void {
    this.#isDiskBroken = true;
    this.#hadABrokenDisk = true;
  }

  diskIsMended(): void {
    this.#isDiskBroken = false;
  }

  async kill(): Promise<void> {
    const ended = this.ended();
    this.#child?.kill("SIGKILL");
    await ended;
  }

  /** Nothing of it runs until it is told to go on; its sockets stay open. */
  stall(): void {
    this.#child?.kill("SIGSTOP");
  }

  goOn(): void {
    this.#child?.kill("SIGCONT");
  }

  jumpClock(ms: number): void {
    // The one that it was meant for may be gone.
    if (this.#child?.connected) this.#child.send({ kind: "jumpClock", ms } satisfies ServerCommand, () => undefined);
  }

  /** A server that lives logs no error but of a disk that refuses. */
  async #watchLog({ stderr }: ChildProcess): Promise<void> {
    if (!stderr) return;
    for await (const line of createInterface({ input: stderr })) {
      if (/database can't be written|alert outbox can't be used/.test(line) || line === "") continue;
      this.#record({ kind: "escaped", atMs: machineMs(), who: "the server's log", detail: line });
    }
  }
}
