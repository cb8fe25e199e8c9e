/** `flagback serve`: the flag server. */
import { once } from "node:events";
import { FlagbackError } from "@flagback/schemas";
import { type Command, Option } from "commander";
import { DEFAULT_GROUP_COMMIT } from "../../ledger/group-commit.ts";
import type { Io } from "../io.ts";
import { collect, wholeNumber } from "../remote-command.ts";
import { anySignal } from "../signals.ts";

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

interface ServeOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly trustProxy?: readonly string[];
  readonly allowedOrigin?: readonly string[];
  readonly webhookAllow?: readonly string[];
  readonly publicUrl?: string;
  readonly keep?: readonly string[];
  readonly commitDelay: number;
  readonly commitSize: number;
  readonly json?: boolean;
}

export function addServe(program: Command, io: Io): void {
  program
    .command("serve")
    .summary("run the flag server until Ctrl-C")
    .description("Runs the flag server on its embedded database. The first start prints the admin token, once.")
    .option("--data-dir <path>", "where the database lives", ".flagback")
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port to listen on; 0 takes a free one", wholeNumber(0, 65_535), 7780)
    .addOption(
      new Option("--log-level <level>", "least level of the log on standard error").choices(LOG_LEVELS).default("info"),
    )
    .option("--tls-cert <file>", "serve HTTPS with this PEM certificate; read again when it changes")
    .option("--tls-key <file>", "the certificate's PEM private key")
    .option("--trust-proxy <range>", "believe X-Forwarded-For from this address or CIDR range (repeatable)", collect)
    .option("--allowed-origin <origin>", "let web pages of this origin open a stream (repeatable)", collect)
    .option("--webhook-allow <range>", "let alerts go to this private address or CIDR range (repeatable)", collect)
    .option(
      "--public-url <url>",
      "address of this server in the links by which alerts can be answered; without it, none",
    )
    .option(
      "--keep <what=term>",
      "keep audit, incidents, alerts or feedback so long, or so many rollouts (repeatable)",
      collect,
    )
    .option(
      "--commit-delay <ms>",
      "least time between one write of counted outcomes and the next",
      wholeNumber(0, 100),
      DEFAULT_GROUP_COMMIT.delayMs,
    )
    .option(
      "--commit-size <outcomes>",
      "counted outcomes that are made durable at once, without waiting",
      wholeNumber(1, 1_000_000),
      DEFAULT_GROUP_COMMIT.maxOutcomes,
    )
    .option("--json", "announce address and token as one JSON value on standard output")
    .action(async (options: ServeOptions) => {
      const stopped = anySignal([io.untilInterrupted(), io.untilOrphaned()]);
      const { dataDir, host, port, logLevel, trustProxy, allowedOrigin, webhookAllow } = options;
      // The other commands start faster without the server's dependencies.
      const { startServer } = await import("../../main.ts");
      const server = await startServer({
        dataDir,
        host,
        port,
        logLevel,
        tls: tlsOf(options),
        trustedProxies: trustProxy,
        allowedOrigins: allowedOrigin,
        webhookAllow,
        publicUrl: options.publicUrl,
        keep: options.keep,
        groupCommit: { delayMs: options.commitDelay, maxOutcomes: options.commitSize },
      });
      const { url, adminToken } = server;
      io.stdout.write(options.json ? `${JSON.stringify({ url, adminToken })}\n` : announcement(url, adminToken));
      if (!stopped.aborted) await once(stopped, "abort");
      await server.close();
    });
}

/** @throws FlagbackError `usage` where one is given without the other: the server must not fall back to plain HTTP. */
function tlsOf({ tlsCert, tlsKey }: ServeOptions): { certFile: string; keyFile: string } | undefined {
  if (tlsCert !== undefined && tlsKey !== undefined) return { certFile: tlsCert, keyFile: tlsKey };
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  throw new FlagbackError({
    code: "usage",
    message: `--tls-${tlsCert === undefined ? "key" : "cert"} stands alone.`,
    hint: "TLS takes both: --tls-cert FILE --tls-key FILE.",
  });
}

function announcement(url: string, adminToken: string | undefined): string {
  const token = adminToken === undefined ? "" : `Admin token: ${adminToken}\nIt is shown this once. Keep it.\n`;
  return `flagback listens on ${url}\n${token}`;
}
