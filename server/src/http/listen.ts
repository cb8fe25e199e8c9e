/**
 * Binds the server to its address.
 */
import { FlagbackError } from "@flagback/schemas";
import type { FastifyInstance } from "fastify";
import { LISTEN_BACKLOG } from "../limits.ts";

/**
 * Answers the address as a URL without a path, with the port that was given where `port` is 0.
 * @throws FlagbackError `port_in_use` where another process has it, or this one may not.
 */
export async function listen(
  app: Pick<FastifyInstance, "listen" | "server">,
  host: string,
  port: number,
  scheme: "http" | "https",
): Promise<string> {
  try {
    await app.listen({ host, port, backlog: LISTEN_BACKLOG });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
    throw new FlagbackError(
      {
        code: "port_in_use",
        message: `${host}:${port} can't be listened on: ${code === "EACCES" ? "not permitted" : "another process has it"}.`,
        hint: "Stop that process, or choose another with --port (0 takes a free one).",
      },
      { cause: error },
    );
  }
  const address = app.server.address();
  const actual = typeof address === "object" && address !== null ? address.port : port;
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${actual}`;
}
