/**
 * A real server that holds the specification's flags, put there as an operator would: over HTTP.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "flagback";
import { pino } from "pino";
import { flagdDefinition, type SpecFlag } from "./test-flags.ts";

export interface SpecServer {
  readonly url: string;
  /** A runtime's. */
  readonly token: string;
  close(): Promise<void>;
}

export async function startSpecServer(flags: Readonly<Record<string, SpecFlag>>): Promise<SpecServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "flagback-conformance-"));
  const server = await startServer({ dataDir, port: 0, log: pino({ level: "silent" }) });
  const close = async () => {
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  };
  const call = async (method: string, path: string, body: unknown) => {
    const headers = { authorization: `Bearer ${server.adminToken}`, "content-type": "application/json" };
    const answer = await fetch(server.url + path, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  };
  try {
    for (const [key, flag] of Object.entries(flags)) await call("PUT", `/v1/flags/${key}`, flagdDefinition(flag));
    const { secret } = (await call("POST", "/v1/tokens", { role: "runtime", name: "conformance" })) as {
      secret: string;
    };
    return { url: server.url, token: secret, close };
  } catch (error) {
    await close();
    throw error;
  }
}
