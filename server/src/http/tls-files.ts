/**
 * TLS by a certificate and a key in files, read again when they change, as a renewal does it: no restart, and streams that
 * are open stay open.
 */
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { FlagbackError } from "@flagback/schemas";
import type { Logger } from "pino";

/** How often the files are looked at. */
const CHECK_MS = 1_000;

export interface TlsFilePaths {
  /** PEM: the certificate, then those between it and its root. */
  readonly certFile: string;
  /** PEM: the certificate's private key. */
  readonly keyFile: string;
}

interface Credentials {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class TlsFiles {
  readonly #paths: TlsFilePaths;
  readonly #log: Logger;
  #stamp: string;
  /** The files as they were when they could not be used, so that it is said once. */
  #complainedOf = "";
  #timer: NodeJS.Timeout | undefined;
  /** As last read. */
  credentials: Credentials;

  /** @throws FlagbackError `tls_unusable` */
  constructor(paths: TlsFilePaths, log: Logger) {
    this.#paths = paths;
    this.#log = log;
    try {
      this.#stamp = stampOf(paths);
      this.credentials = read(paths);
    } catch (cause) {
      throw new FlagbackError(
        {
          code: "tls_unusable",
          message: `TLS can't be served with ${paths.certFile} and ${paths.keyFile}: ${(cause as Error).message}.`,
          hint: "Give a PEM certificate and the private key that belongs to it, both readable by this process.",
        },
        { cause },
      );
    }
  }

  /** Calls `use` with each new pair from here on, until `close`. A pair that can't be used leaves the one before in use. */
  follow(use: (credentials: Credentials) => void): void {
    this.#timer = setInterval(() => this.#look(use), CHECK_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(use: (credentials: Credentials) => void): void {
    let stamp = "gone";
    try {
      stamp = stampOf(this.#paths);
      if (stamp === this.#stamp) return;
      this.credentials = read(this.#paths);
      use(this.credentials);
      this.#stamp = stamp;
      this.#log.info({ certFile: this.#paths.certFile }, "the TLS certificate was read again");
    } catch (error) {
      if (stamp === this.#complainedOf) return;
      this.#complainedOf = stamp;
      this.#log.warn({ error: (error as Error).message }, "the TLS files can't be used; the pair before stays in use");
    }
  }
}

/** @throws Error where the two can't be read or don't belong together. */
function read({ certFile, keyFile }: TlsFilePaths): Credentials {
  const credentials = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  createSecureContext(credentials);
  return credentials;
}

/** Changes with the files, also where a link is pointed to others, as Kubernetes does with secrets. */
function stampOf({ certFile, keyFile }: TlsFilePaths): string {
  return [certFile, keyFile]
    .map((path) => statSync(path))
    .map(({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`)
    .join(", ");
}
