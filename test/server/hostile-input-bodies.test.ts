/** Bodies and names that readers could disagree on, or that could cost more than their sender. */
import { request } from "node:http";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import type { OutcomesAnswer } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { jsonProblem } from "../../server/src/http/json-problem.ts";
import { Instances, MAX_IDLE_INSTANCES } from "../../server/src/ledger/instances.ts";
import { RecentRuns, RUN_WINDOW } from "../../server/src/ledger/recent-runs.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

describe("a body that is not UTF-8", () => {
  const bytes = {
    "a byte that begins nothing": [0xff],
    "an overlong slash": [0xc0, 0xaf],
    "half a surrogate pair": [0xed, 0xa0, 0x80],
    "a character that is cut short": [0xe2, 0x82],
    "more than Unicode has": [0xf5, 0x80, 0x80, 0x80],
  };
  test.each(Object.entries(bytes))(
    "(%s) is refused as JSON, YAML and text, and changes nothing",
    async (_what, odd) => {
      const server = await testServer();
      const around = (before: string, after: string) =>
        Buffer.concat([Buffer.from(before), Buffer.from(odd), Buffer.from(after)]);
      const json = around('{"reason": "', '"}');
      const yaml = around("versions: [{id: a@1, notes: '", "'}]");
      for (const [path, type, body] of [
        ["/v1/stop", "application/json", json],
        ["/v1/apply", "text/yaml", yaml],
        ["/v1/apply", "text/plain", yaml],
      ] as const) {
        const answer = await send(server, "POST", path, type, body);
        expect(answer).toMatchObject({ status: 400, code: "bad_request", detail: expect.stringContaining("UTF-8") });
      }
      expect((await server.call<{ events: { action: string }[] }>("GET", "/v1/audit")).body.events).toHaveLength(1);
    },
  );
});

test("a compressed body is refused as such, whatever its type", async () => {
  const server = await testServer();
  for (const [type, path] of [
    ["application/json", "/v1/stop"],
    ["text/yaml", "/v1/apply"],
  ] as const) {
    const body = gzipSync('{"reason": "a"}');
    const answer = await send(server, "POST", path, type, body, undefined, { "content-encoding": "gzip" });
    expect(answer).toMatchObject({ status: 400, code: "bad_request", detail: expect.stringContaining("gzip") });
  }
});

test("a path of which there is nothing is not repeated at length", async () => {
  const server = await testServer();
  const answer = await send(server, "GET", `/v1/${"a".repeat(8_000)}`, "application/json", Buffer.alloc(0));
  expect(answer).toMatchObject({ status: 404, code: "not_found" });
  expect(answer.detail?.length).toBeLessThan(400);
});

describe("a key that comes twice", () => {
  test.each([
    ["at the top", '{"reason": "a", "reason": "b"}', "reason"],
    ["written in two ways", '{"reason": "a", "re\\u0061son": "b"}', "reason"],
    ["far inside", '{"reason": "x", "a": [[{"b": {"c": 1, "d": 2, "c": 1}}]]}', "c"],
    ["after an object of its own", '{"a": {"a": 1}, "b": [{"a": 1}], "a": 2}', "a"],
    ["empty", '{"": 1, "": 2}', ""],
  ])("%s is refused with its name", async (_what, body, key) => {
    const server = await testServer();
    const answer = await send(server, "POST", "/v1/stop", "application/json", Buffer.from(body));
    expect(answer).toMatchObject({ status: 400, detail: expect.stringContaining(`the key ${key} twice`) });
  });

  test("is refused in a file too, whether it is YAML or JSON", async () => {
    const server = await testServer();
    const yaml = await send(server, "POST", "/v1/apply", "text/yaml", Buffer.from("flags: {}\nflags: {}\n"));
    const json = await send(server, "POST", "/v1/apply", "application/json", Buffer.from('{"flags":{},"flags":{}}'));
    expect([yaml.code, json.code]).toEqual(["malformed_yaml", "bad_request"]);
  });

  const json = fc.json({ maxDepth: 5 });

  test("is found wherever one is, and nowhere else", () => {
    const spaced = json.map((text) => JSON.stringify(JSON.parse(text), null, 3));
    fc.assert(fc.property(fc.oneof(json, spaced), (text) => jsonProblem(text, 64) === undefined));
    fc.assert(
      fc.property(fc.string(), json, json, json, (key, one, two, between) => {
        const name = JSON.stringify(key);
        // `null` in between has no key of its own; an array keeps its keys to itself.
        const text = `[${one}, {${name}: ${one}, ${JSON.stringify(`${key}!`)}: [${between}], ${name}: ${two}}]`;
        expect(jsonProblem(text, 64)).toContain("twice");
      }),
    );
  });

  test("and depth are judged alike for every way to write a text", () => {
    expect(jsonProblem(`${"[".repeat(3)}${"]".repeat(3)}`, 3)).toBeUndefined();
    expect(jsonProblem(`${"[".repeat(4)}${"]".repeat(4)}`, 3)).toContain("deeper than 3");
    expect(jsonProblem('["[[[[{{{{", "\\"{\\\\"]', 1)).toBeUndefined();
  });
});

test.each([
  ["a prototype", '{"reason": "x", "__proto__": {"admin": true}}', "prototype"],
  ["a constructor's prototype", '{"reason": "x", "constructor": {"prototype": {"admin": true}}}', "prototype"],
  ["nothing", "", "empty"],
  ["half of it", '{"reason": "x', "is no JSON"],
  ["two values", '{"reason": "x"}{"reason": "y"}', "is no JSON"],
  ["a number that is none", '{"reason": NaN}', "is no JSON"],
])("a JSON body with %s is the caller's mistake, and is told which", async (_what, body, told) => {
  const server = await testServer();
  const answer = await send(server, "POST", "/v1/stop", "application/json", Buffer.from(body));
  expect(answer).toMatchObject({ status: 400, code: "bad_request", detail: expect.stringContaining(told) });
  expect((await server.call<{ killSwitches: unknown[] }>("GET", "/v1/kill-switches")).body.killSwitches).toMatchObject([
    { engaged: [] },
  ]);
});

test("a body that nests without end is refused before anything walks it, also where a route takes none", async () => {
  const server = await testServer();
  const body = Buffer.from(`{"a": ${"[".repeat(200_000)}${"]".repeat(200_000)}}`);
  for (const [method, path] of [
    ["DELETE", "/v1/flags/f"],
    ["DELETE", "/v1/webhooks/w"],
    ["POST", "/v1/outcomes"],
    ["POST", "/v1/tokens"],
  ] as const) {
    const token = path === "/v1/outcomes" ? await server.token("runtime") : server.adminToken;
    const answer = await send(server, method, path, "application/json", body, token, { "idempotency-key": "k" });
    expect(answer).toMatchObject({ status: 400, detail: expect.stringContaining("nested deeper") });
  }
});

test("a body full of unknown keys is answered with a hundred of them, and how many more there are", async () => {
  const server = await testServer();
  const odd = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`key${n}`, n]));
  const body = Buffer.from(JSON.stringify({ outcomes: [{}], ...odd }));
  const token = await server.token("runtime");
  const { status, problems = [] } = await send(server, "POST", "/v1/outcomes", "application/json", body, token);
  expect([status, problems.length, problems.at(-1)]).toEqual([400, 101, "and 49900 more"]);
  expect(problems[0]).toBe("key0: unknown key; known are outcomes");
});

test.each(["outcomes", "feedback"])(
  "of a request full of junk as %s sixteen items are told why, and all are refused by their index",
  async (kind) => {
    const server = await testServer();
    await server.call("POST", "/v1/apply", SUPPORT_AGENT);
    const good = { id: "f", runId: "r", alias: "support-agent", version: "support-agent@2.3.3", status: "success" };
    const { id: _id, ...outcome } = good;
    const items: unknown[] = Array(499).fill({});
    items.splice(100, 0, kind === "outcomes" ? outcome : good);
    const token = await server.token("runtime");
    const { body } = await server.call<OutcomesAnswer>("POST", `/v1/${kind}`, { [kind]: items }, { token });
    expect(body.accepted).toBe(1);
    const junk = items.flatMap((item, index) => (item === items[100] ? [] : [index]));
    expect(body.rejected.map(({ index }) => index)).toEqual(junk);
    const code = kind === "outcomes" ? "outcome_invalid" : "feedback_invalid";
    expect(new Set(body.rejected.map((each) => each.code))).toEqual(new Set([code]));
    const first = kind === "outcomes" ? /^runId: / : /^id: /;
    expect(body.rejected.map(({ message }) => first.test(message))).toEqual(junk.map((_, n) => n < 16));
    expect(new Set(body.rejected.slice(16).map(({ message }) => message))).toEqual(
      new Set(["item: not as the schema asks; the 16 such items before it say why"]),
    );
  },
);

test("a key without end is not repeated to who sent it", async () => {
  const server = await testServer();
  const key = "k".repeat(100_000);
  const outcome = { runId: "r", alias: "a", version: "v", status: "success" };
  const outcomes = [
    { ...outcome, [key]: 1 },
    { ...outcome, attributes: { [key]: "x" } },
  ];
  const token = await server.token("runtime");
  const { body } = await server.call<OutcomesAnswer>("POST", "/v1/outcomes", { outcomes }, { token });
  expect(body.rejected.map(({ code, message }) => [code, message.length < 600])).toEqual([
    ["outcome_invalid", true],
    ["outcome_invalid", true],
  ]);
});

test("a body over the limit is refused whether its length is told or not", async () => {
  const server = await testServer();
  const body = Buffer.from(JSON.stringify({ reason: "x".repeat(1024 * 1024) }));
  expect(await send(server, "POST", "/v1/stop", "application/json", body)).toMatchObject({ status: 413 });
  const chunked = { "transfer-encoding": "chunked" };
  const answer = await send(server, "POST", "/v1/stop", "application/json", body, server.adminToken, chunked);
  expect(answer).toMatchObject({ status: 413, code: "payload_too_large" });
});

test("a body that stops half way costs its own connection and changes nothing", async () => {
  const server = await testServer({ limits: { requestTimeoutMs: 500, headersTimeoutMs: 500 } });
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.write(
    `POST /v1/stop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.adminToken}\r\n` +
      'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"reason": "half',
  );
  socket.resume();
  await eventually("it is ended", () => socket.closed);
  expect((await server.call<{ killSwitches: unknown[] }>("GET", "/v1/kill-switches")).body.killSwitches).toMatchObject([
    { engaged: [] },
  ]);
});

describe("a name", () => {
  const odd = {
    "with a slash": "support/agent",
    "that climbs": "../../etc/passwd",
    "of emoji": "🤖🤖",
    "of 10 kB": "a".repeat(10_240),
    "with a line break": "a\nb",
    "with a zero": "a\u0000b",
    "written from right to left": "\u202etnega",
    "that is a prototype": "__proto__",
    "of blanks": "   ",
    "that is empty": "",
  };
  test.each(Object.entries(odd))("%s is refused wherever one is given, with a clear answer", async (_what, name) => {
    const server = await testServer();
    await server.call("POST", "/v1/apply", SUPPORT_AGENT);
    const runtime = await server.token("runtime");
    const outcome = { runId: "r", alias: name, version: "support-agent@2.3.3", status: "success" };
    const part = encodeURIComponent(name);
    const asked = [
      await server.call("PUT", `/v1/aliases/${part}`, {}),
      await server.call("PUT", `/v1/flags/${part}`, { state: "ENABLED", variants: { on: true } }),
      await server.call("PUT", `/v1/kill-switches/${part}`, {}),
      await server.call("GET", `/v1/aliases/${part}/rollout`),
      await server.call("POST", "/v1/versions", { id: "a@1", alias: name }),
      await server.call("POST", "/v1/tokens", { role: "runtime", name: "n", aliases: [name] }),
      await server.call("POST", "/v1/apply", JSON.stringify({ aliases: { [name]: { stable: "a@1" } } })),
    ];
    for (const answer of asked) {
      expect([400, 404]).toContain(answer.status);
      expect(answer.body).toMatchObject({ hint: expect.stringMatching(/./) });
      // A name of 10 kB is not repeated.
      expect(JSON.stringify(answer.body).length).toBeLessThan(2_000);
    }
    const reported = await server.call("POST", "/v1/outcomes", { outcomes: [outcome] }, { token: runtime });
    expect(reported.body).toMatchObject({ accepted: 0, rejected: [{ index: 0, code: "outcome_invalid" }] });
    expect((await server.call<{ aliases: unknown[] }>("GET", "/v1/aliases")).body.aliases).toHaveLength(1);
  });

  test.each(["constructor", "toString", "hasOwnProperty", "valueOf"])(
    "that every object has (%s) is a name like any other",
    async (name) => {
      const server = await testServer();
      const file = `versions: [{id: ${name}@1}]\naliases: {${name}: {stable: ${name}@1}}\n`;
      expect(await server.call("POST", "/v1/apply", file)).toMatchObject({ status: 200, body: { applied: true } });
      const runtime = await RawRuntime.connect(server.url, await server.token("runtime", [name]));
      const { documents } = await runtime.next("snapshot");
      expect(documents.find((document) => document.kind === "alias")).toMatchObject({ key: name, stable: `${name}@1` });
    },
  );
});

test("a million distinct runs are remembered within the window, and the memory of the first is gone", () => {
  const runs = new RecentRuns();
  for (let n = 0; n < 1_000_000; n++) runs.add("a", `run ${n}`, "t");
  const known = (n: number) => runs.has("a", `run ${n}`);
  const first = 1_000_000 - RUN_WINDOW;
  expect([known(0), known(first - 1), known(first), known(999_999)]).toEqual([false, false, true, true]);
});

test("a token that is ever another instance is remembered as so many of them, the last ones", () => {
  const instances = new Instances();
  const name = (n: number) => `instance ${n}`;
  const last = MAX_IDLE_INSTANCES + 10;
  for (let n = 0; n <= last; n++) Object.assign(instances.open(name(n), "t", 1), { through: 1, durableThrough: 1 });
  // Connected, or with something unsettled: not to be forgotten.
  Object.assign(instances.open(name(0), "t", 1), { isConnected: true });
  Object.assign(instances.open(name(1), "t", 1), { through: 2 });
  instances.forgetIdle(2);
  const known = (n: number) => instances.find(name(n)) !== undefined;
  expect([0, 1, 2, last - MAX_IDLE_INSTANCES, last - MAX_IDLE_INSTANCES + 1, last].map(known)).toEqual([
    true,
    true,
    false,
    false,
    true,
    true,
  ]);
});

interface Answered {
  readonly status: number;
  readonly code?: string;
  readonly detail?: string;
  readonly problems?: readonly string[];
}

/** Sends bytes as they are, which fetch does not for every method. */
function send(
  server: TestServer,
  method: string,
  path: string,
  type: string,
  body: Buffer,
  token = server.adminToken,
  headers: Record<string, string> = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const length = headers["transfer-encoding"] ? {} : { "content-length": body.length };
    const sent = request(server.url + path, {
      method,
      agent: false,
      headers: { authorization: `Bearer ${token}`, "content-type": type, ...length, ...headers },
    });
    sent.on("response", (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ ...JSON.parse(text), status: response.statusCode ?? 0 }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
