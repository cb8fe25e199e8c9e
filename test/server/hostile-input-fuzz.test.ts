/** Fuzz targets for every decoder that strangers or runtimes reach: an answer to whatever comes, and never a crash. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { decodeRuntimeFrame, FlagbackError, Outcome, StreamOutcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../server/src/config/parse-config.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const FRAMES = fileURLToPath(new URL("../fixtures/frames/", import.meta.url));
const CONFIGS = fileURLToPath(new URL("../fixtures/config/", import.meta.url));
const frames = readdirSync(FRAMES)
  .filter((name) => name.startsWith("runtime-"))
  .map((name) => readFileSync(FRAMES + name, "utf8"));
const TYPES = frames.map((frame) => JSON.parse(frame).type);
const configs = [...readdirSync(CONFIGS).map((name) => readFileSync(CONFIGS + name, "utf8")), SUPPORT_AGENT];

/** A text with some of it cut out, doubled, or written over by what tends to hurt. */
function mutated(texts: readonly string[]): fc.Arbitrary<string> {
  const hurtful = fc.oneof(
    fc.constantFrom("null", "-1", "1e999", "1e-400", "{}", "[]", '"', "\\", "\u0000", "\ud800", "\u2028", "💥", "0x1"),
    fc.constantFrom("__proto__", "constructor", "*a", "&a ", "!!binary ", "---\n", "\t", "9007199254740993", "? : -"),
    fc.string(),
  );
  const edit = fc.tuple(fc.nat(), fc.nat({ max: 12 }), hurtful, fc.boolean());
  return fc.tuple(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 4 })).map(([text, edits]) =>
    edits.reduce((now, [position, length, replacement, isDoubled]) => {
      const at = position % (now.length + 1);
      const cut = now.slice(at, at + length);
      return now.slice(0, at) + (isDoubled ? cut + cut : replacement) + now.slice(at + length);
    }, text),
  );
}

describe("decoders", () => {
  test("a runtime's frame is a message, of an unknown type or malformed, whatever is done to it", () => {
    fc.assert(
      fc.property(mutated(frames), (text) => {
        const decoded = decodeRuntimeFrame(text);
        if (decoded.kind === "message") expect(TYPES).toContain(decoded.message.type);
        else if (decoded.kind === "unknown_type") expect(TYPES).not.toContain(decoded.type);
        else expect(decoded.problem).not.toBe("");
      }),
      { numRuns: 3_000 },
    );
  });

  test("an outcome that is taken has every number within its limits", () => {
    const given = { assignedSeq: 1, runId: "r", alias: "a", version: "a@1", status: "success" };
    const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(-0, 2 ** 53, 1e308, "5", null));
    const fields = fc.record(
      Object.fromEntries(
        ["durationMs", "toolCalls", "toolErrors", "writes", "costUsd", "inputTokens", "quality"].map((name) => [
          name,
          number,
        ]),
      ),
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fields, fc.constantFrom(Outcome, StreamOutcome), (extra, schema) => {
        const { assignedSeq, ...rest } = given;
        const parsed = schema.safeParse({ ...(schema === StreamOutcome ? given : rest), ...extra });
        if (!parsed.success) return;
        const { durationMs = 0, quality = 0, toolErrors = 0, toolCalls = toolErrors, costUsd = 0 } = parsed.data;
        expect(durationMs >= 0 && durationMs <= 86_400_000).toBe(true);
        expect(quality >= 0 && quality <= 1).toBe(true);
        expect(toolErrors >= 0 && toolErrors <= toolCalls).toBe(true);
        expect(costUsd >= 0 && costUsd <= 1_000_000).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a configuration is a desired state or the caller's mistake, whatever is done to it", () => {
    fc.assert(
      fc.property(fc.oneof(mutated(configs), fc.string(), fc.json()), (text) => {
        try {
          const state = parseConfig(text);
          // What is taken can be kept: it is JSON through and through.
          expect(JSON.parse(JSON.stringify(state))).toBeTypeOf("object");
        } catch (error) {
          if (!(error instanceof FlagbackError)) throw error;
          expect([400, 413]).toContain(error.status);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a server", () => {
  test("answers any query, header and path of its routes, and never with an error of its own", async () => {
    const server = await serving();
    const runtime = await server.token("runtime");
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom("-1", "1e9", "9007199254740993", "NaN", "0x10", " 1", "true", "applied", "", "[]", "%", "\u0000"),
      fc.integer().map(String),
    );
    const query = fc
      .array(fc.tuple(fc.constantFrom("after", "limit", "target", "decision", "lease", "alias", "x", "after[]"), value))
      .map((pairs) => new URLSearchParams(pairs).toString());
    const path = fc.oneof(
      fc.constantFrom("/v1/audit", "/v1/versions", "/v1/incidents", "/v1/runtimes", "/metrics", "/openapi.json"),
      value.map((text) => `/v1/propagation/${encodeURIComponent(text)}`),
      value.map((text) => `/v1/aliases/${encodeURIComponent(text)}/rollout`),
      value.map((text) => `/v1/decisions/${encodeURIComponent(text)}/replay`),
      fc
        .string({ unit: fc.constantFrom("/", ".", "%", "2", "e", "v1", ";", "\\", "..", "?") })
        .map((text) => `/${text}`),
    );
    await fc.assert(
      fc.asyncProperty(path, query, async (at, search) => {
        const answer = await server.call("GET", `${at}${at.includes("?") ? "&" : "?"}${search}`);
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(query, async (search) => {
        const answer = await server.call("GET", `/v1/snapshot?${search}`, undefined, { token: runtime });
        expect([200, 304, 400]).toContain(answer.status);
      }),
      { numRuns: 100 },
    );
    const header = fc.string({ unit: fc.constantFrom('"', "1", "9", "*", "W/", ",", " ", "-", "a", "é") });
    await fc.assert(
      fc.asyncProperty(header, header, async (ifMatch, key) => {
        const headers = { "if-match": ifMatch, "idempotency-key": key };
        const answer = await server.call("PUT", "/v1/kill-switches/other", {}, { headers });
        expect([200, 400, 409]).toContain(answer.status);
      }),
      { numRuns: 100 },
    );
  });

  test("tells of each reported outcome what became of it, whatever it is", async () => {
    const server = await serving();
    const token = await server.token("runtime");
    const valid = fc.record({
      runId: fc.string({ maxLength: 3 }),
      alias: fc.constantFrom("support-agent", "other", "__proto__"),
      version: fc.constantFrom("support-agent@2.3.3", "support-agent@9"),
      status: fc.constantFrom("success", "failure", "odd"),
    });
    const items = fc.array(fc.oneof(valid, fc.jsonValue()), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(items, async (outcomes) => {
        const answer = await server.call<Reported>("POST", "/v1/outcomes", { outcomes }, { token });
        // A value may hold a key that no body may, such as `__proto__`.
        if (answer.status === 400) {
          expect(JSON.stringify(outcomes)).toMatch(/__proto__|constructor/);
          return;
        }
        const { accepted, duplicates, rejected } = answer.body;
        expect(accepted + duplicates + rejected.length).toBe(outcomes.length);
        expect(new Set(rejected.map((each) => each.index)).size).toBe(rejected.length);
      }),
      { numRuns: 100 },
    );
  });

  test("takes up any cursor: it resumes only from what it has sent, and else sends everything", async () => {
    const server = await serving();
    const token = await server.token("runtime");
    const { epoch, revision, mark } = await (await RawRuntime.connect(server.url, token)).next("snapshot");
    const cursor = fc.record({
      epoch: fc.constantFrom(epoch, "0".repeat(32), "short", null),
      revision: fc.constantFrom(revision, 0, 1, -1, 2 ** 53, 1.5, "1"),
      mark: fc.constantFrom(mark, "0".repeat(16), ""),
    });
    await fc.assert(
      fc.asyncProperty(cursor, async (resume) => {
        const runtime = new RawRuntime(server.url, token);
        await runtime.opened();
        runtime.send({ type: "hello", instance: runtime.instance, sdk: "fuzz", resume });
        runtime.send({ type: "lease", id: 1 });
        const isHeld = resume.epoch === epoch && resume.revision === revision && resume.mark === mark;
        // Before the first change a history has revision 0 and a mark of zeros: a place like any other.
        const isBeginning = resume.epoch === epoch && resume.revision === 0 && resume.mark === "0".repeat(16);
        const sent = isHeld ? [] : [isBeginning ? "delta" : "snapshot"];
        const answered = await runtime.next("lease").catch((error: Error) => error.message);
        const types = runtime.received.map((message) => message.type);
        if (typeof answered === "string") expect(answered).toContain("closed with 4400");
        else expect(types).toEqual(["hello", ...sent, "lease"]);
        runtime.close();
      }),
      { numRuns: 60 },
    );
  });

  test("ends a socket whose bytes are no frames, and no other; its memory does not keep what they announced", async () => {
    const server = await serving();
    const token = await server.token("runtime");
    const bystander = await RawRuntime.connect(server.url, token);
    const frame = fc.record({
      first: fc.integer({ min: 0, max: 255 }),
      isMasked: fc.boolean(),
      /** What the header says, which need not be what follows. */
      length: fc.constantFrom(0, 1, 125, 126, 127, 5_000, 1_048_576, 1_048_577, 2 ** 31, 2 ** 40),
      payload: fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        mutated(frames).map((text) => Buffer.from(text)),
      ),
      tellsTruth: fc.boolean(),
    });
    let leases = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 6 }), async (script) => {
        const socket = await upgraded(server, token);
        for (const each of script) socket.write(frameBytes(each));
        // Half of our side closed: whatever the server still waits for will not come.
        socket.end();
        await eventually("it is closed", () => socket.closed);
        leases += 1;
        bystander.send({ type: "lease", id: leases });
        await bystander.next("lease", (lease) => lease.id === leases);
      }),
      { numRuns: 100 },
    );
    expect((await server.call<{ runtimes: unknown[] }>("GET", "/v1/runtimes")).body.runtimes).toHaveLength(1);
  });
});

interface Reported {
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: readonly { readonly index: number }[];
}

async function serving(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  return server;
}

/** A stream whose frames we write by hand, byte for byte. */
async function upgraded(server: TestServer, token: string): Promise<Socket> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined);
  socket.write(
    `GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Protocol: flagback.v1\r\n` +
      `Authorization: Bearer ${token}\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  if (!head.toString().startsWith("HTTP/1.1 101")) throw new Error(head.toString());
  socket.resume();
  return socket;
}

/** One frame by RFC 6455, section 5.2, or what looks like one. */
function frameBytes(frame: {
  readonly first: number;
  readonly isMasked: boolean;
  readonly length: number;
  readonly payload: Uint8Array;
  readonly tellsTruth: boolean;
}): Buffer {
  const length = frame.tellsTruth ? frame.payload.length : frame.length;
  const mask = frame.isMasked ? 128 : 0;
  const head = [frame.first];
  if (length < 126) head.push(mask | length);
  else if (length < 65_536) head.push(mask | 126, length >> 8, length & 255);
  else {
    const wide = Buffer.alloc(8);
    wide.writeBigUInt64BE(BigInt(length));
    head.push(mask | 127, ...wide);
  }
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([Buffer.from(head), Buffer.alloc(frame.isMasked ? 4 : 0), frame.payload]);
}
