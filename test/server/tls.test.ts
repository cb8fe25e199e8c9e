/** HTTPS by files, and what a connection looks like to those who speak it wrongly. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { rename, symlink, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { type ServerOptions, startServer } from "flagback";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { type Certificate, selfSigned } from "../support/certificate.ts";
import { eventually, SILENT, testFolder } from "../support/server.ts";

test("with a certificate the server speaks HTTPS, and says so to browsers", async () => {
  const { server, certificate } = await secureServer();
  expect(server.url).toMatch(/^https:/);
  const health = await ask(server.url, "GET", "/healthz", certificate);
  expect(health).toMatchObject({ status: 200, headers: { "strict-transport-security": "max-age=63072000" } });
});

test("streams go over it, and none of them is taken for a socket that waits, however few may wait", async () => {
  const { server, certificate } = await secureServer(SILENT, { maxWaitingSockets: 2, waitingPatienceMs: 0 });
  const headers = { authorization: `Bearer ${server.adminToken}` };
  const made = await ask(server.url, "POST", "/v1/tokens", certificate, headers, { role: "runtime", name: "tls" });
  const { secret } = made.body as { secret: string };
  const streams: WebSocket[] = [];
  for (let n = 0; n < 6; n++) {
    const socket = new WebSocket(`${server.url.replace("https", "wss")}/v1/stream`, ["flagback.v1"], {
      ca: certificate.cert,
      headers: { authorization: `Bearer ${secret}` },
    });
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    streams.push(socket);
  }
  for (const [n, socket] of streams.entries()) {
    socket.send(JSON.stringify({ type: "hello", instance: `${n}`.repeat(32), sdk: "tls" }));
    const [hello] = (await once(socket, "message")) as [Buffer];
    expect(JSON.parse(hello.toString())).toMatchObject({ type: "hello" });
  }
});

test("a renewed certificate is used for new connections, also where a link now points to it; those that are open stay open", async () => {
  const { server, certificate, folder } = await secureServer();
  const old = await secured(server.url);
  expect(old.serial).toBe(serialOf(certificate));
  const next = selfSigned();
  await writeFile(join(folder, "next-cert.pem"), next.cert);
  await writeFile(join(folder, "next-key.pem"), next.key);
  await symlink(join(folder, "next-cert.pem"), join(folder, "link-cert"));
  await symlink(join(folder, "next-key.pem"), join(folder, "link-key"));
  await rename(join(folder, "link-cert"), join(folder, "cert.pem"));
  await rename(join(folder, "link-key"), join(folder, "key.pem"));
  await eventually("the new certificate is shown", async () => (await secured(server.url)).serial === serialOf(next));
  old.socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(String((await once(old.socket, "data"))[0])).toContain("200 OK");
});

test("a renewal that is half written leaves the pair before in use, until it is whole", async () => {
  const warnings: unknown[] = [];
  const log = SILENT.child({}, { level: "warn" });
  log.warn = (...args: unknown[]) => void warnings.push(args);
  const { server, certificate, folder } = await secureServer(log);
  const next = selfSigned();
  await writeFile(join(folder, "cert.pem"), next.cert);
  await eventually("it is complained of", () => JSON.stringify(warnings).includes("stays in use"));
  expect((await secured(server.url)).serial).toBe(serialOf(certificate));
  await writeFile(join(folder, "key.pem"), next.key);
  await eventually("the new certificate is shown", async () => (await secured(server.url)).serial === serialOf(next));
});

test.each([
  ["files that are not there", async () => undefined],
  ["a key of another certificate", async (folder: string) => write(folder, selfSigned().cert, selfSigned().key)],
  ["what is no PEM", async (folder: string) => write(folder, "certificate", "key")],
])("the server does not start with %s, and says which files", async (_what, prepare) => {
  const folder = await testFolder();
  await prepare(folder);
  const tls = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  await expect(startServer({ dataDir: folder, port: 0, log: SILENT, tls })).rejects.toMatchObject({
    code: "tls_unusable",
    message: expect.stringContaining(tls.keyFile),
  });
});

test.each([
  [["--tls-cert", "x"], "--tls-cert stands alone"],
  [["--tls-key", "x"], "--tls-key stands alone"],
  [["--trust-proxy", "10.0.0.0/99", "--trust-proxy", "proxy"], "10.0.0.0/99 is no address range; proxy is no"],
  [["--webhook-allow", "0x7f.1"], "0x7f.1 is no address range"],
  [["--public-url", "https://user:secret@flags.example.com"], "--public-url is no web address"],
  [["--allowed-origin", "https://ops.example.com/"], "https://ops.example.com/ is no origin"],
])("flagback serve %j is bad use, and nothing listens", async (options, message) => {
  const io = fakeIo();
  const folder = await testFolder();
  expect(await runCli(["serve", "--data-dir", folder, "--port", "0", "--log-level", "silent", ...options], io)).toBe(2);
  expect(io.written.stderr).toContain(message);
  expect(io.written.stdout).toBe("");
});

test("plain HTTP at a TLS port is closed and harms nobody", async () => {
  const { server, certificate } = await secureServer();
  const { hostname, port } = new URL(server.url);
  const plain = connectTcp(Number(port), hostname);
  onTestFinished(() => void plain.destroy());
  plain.on("error", () => undefined);
  plain.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(plain, "close");
  expect((await ask(server.url, "GET", "/healthz", certificate)).status).toBe(200);
});

async function secureServer(log = SILENT, limits: ServerOptions["limits"] = {}) {
  const folder = await testFolder();
  const certificate = selfSigned();
  await write(folder, certificate.cert, certificate.key);
  const tls = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  const server = await startServer({ dataDir: folder, port: 0, log, tls, limits });
  onTestFinished(() => server.close());
  return { server, certificate, folder };
}

async function write(folder: string, cert: string, key: string): Promise<void> {
  await writeFile(join(folder, "cert.pem"), cert);
  await writeFile(join(folder, "key.pem"), key);
}

function serialOf({ cert }: Certificate): string {
  return new X509Certificate(cert).serialNumber;
}

/** A TLS connection, and the serial number of the certificate that it was shown. */
async function secured(url: string) {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  return { socket, serial: socket.getPeerCertificate().serialNumber };
}

function ask(
  url: string,
  method: string,
  path: string,
  { cert }: Certificate,
  headers: Record<string, string> = {},
  body?: unknown,
): Promise<{ status: number; headers: Record<string, unknown>; body: unknown }> {
  return new Promise((resolve, reject) => {
    const type = body === undefined ? {} : { "content-type": "application/json" };
    const sent = request(url + path, { method, ca: cert, headers: { ...type, ...headers } }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: JSON.parse(text) });
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? "" : JSON.stringify(body));
  });
}
