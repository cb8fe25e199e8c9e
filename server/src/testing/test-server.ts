/**
 * A real server for a test: on a free port of the loopback interface, with a database of its own that goes with it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ApplyAnswer, ConfigFile, Role } from "@flagback/schemas";
import type * as z from "zod";
import { type Api, connectApi } from "../cli/api-client.ts";
import { type RunningServer, type ServerOptions, startServer } from "../main.ts";

/** A configuration as `flagback apply` takes it: YAML or JSON as text, or the same as an object. */
export type TestConfig = string | z.input<typeof ConfigFile>;

/** The database is a fresh one, so there is no folder to choose. */
export interface TestServerOptions extends Partial<Omit<ServerOptions, "dataDir">> {
  /** Applied before the server is handed over. */
  readonly config?: TestConfig;
  /** Default 0, a free one. */
  readonly port?: number;
  /** Default `silent`. */
  readonly logLevel?: string;
}

export interface TestServer extends AsyncDisposable {
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  /** A token of each role but `trigger`; `runtime` is the one for a `FlagbackProvider`. */
  readonly tokens: Readonly<Record<Exclude<Role, "trigger">, string>>;
  /** The HTTP API as functions, with the admin's token. @throws FlagbackError as the server refuses */
  readonly api: Api;
  /** Makes the documents say what the configuration says. @throws FlagbackError that lists what is wrong with it */
  apply(config: TestConfig): Promise<ApplyAnswer>;
  /** Stops the server and removes its database. Safe twice; `await using` does it by itself. */
  close(): Promise<void>;
}

/**
 * Starts a server of its own for a test: `await using server = await startTestServer()`. Several may run in one process.
 * @throws FlagbackError where `config` is refused; nothing is left running then
 */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { config, ...serverOptions } = options;
  const dataDir = await mkdtemp(join(tmpdir(), "flagback-test-"));
  let server: RunningServer | undefined;
  const stop = async () => {
    try {
      await server?.close();
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  };
  try {
    server = await startServer({ port: 0, logLevel: "silent", ...serverOptions, dataDir });
    const { url, adminToken: admin = "" } = server;
    const api = connectApi({ url, token: admin });
    const apply: TestServer["apply"] = (given) => api.apply(typeof given === "string" ? given : JSON.stringify(given));
    if (config !== undefined) await apply(config);
    let closing: Promise<void> | undefined;
    const close = () => (closing ??= stop());
    return { url, tokens: await tokensOf(api, admin), api, apply, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function tokensOf(api: Api, admin: string): Promise<TestServer["tokens"]> {
  const make = async (role: Role) => (await api.createToken({ role, name: `test ${role}` })).secret;
  const [viewer, operator, lead, runtime] = await Promise.all([
    make("viewer"),
    make("operator"),
    make("lead"),
    make("runtime"),
  ]);
  return { viewer, operator, lead, admin, runtime };
}
