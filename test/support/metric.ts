import type { TestServer } from "./server.ts";

/** One series as the server exposes it now: a name, with its labels where it has some. */
export async function metric(server: TestServer, name: string): Promise<number | undefined> {
  const { body } = await server.call<string>("GET", "/metrics");
  const line = body.split("\n").find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.split(" ")[1]);
}
