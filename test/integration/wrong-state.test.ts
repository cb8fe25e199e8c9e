/**
 * Every command of people in every state that does not allow it, over HTTP and on the command line: the answer says where the
 * rollout stands, what is possible from there, and who may do it. What each cell does is tested in core; this is how it arrives.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MACHINE, type MachineState, PEOPLES_COMMANDS, possibilities } from "@flagback/core";
import { FlagbackProvider } from "@flagback/provider";
import { type Alias, type Outcome, type Possibility, type Problem, SUBPROTOCOL } from "@flagback/schemas";
import { OpenFeature } from "@openfeature/server-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";
import { type Agent, ENOUGH_FOR_PROOF, run } from "../support/agents.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { type Answer, eventually, openServer, type TestServer } from "../support/server.ts";

type Peoples = keyof typeof PEOPLES_COMMANDS;

/** One alias for each state. */
const WAYS: Readonly<Record<MachineState, (alias: string) => Promise<void>>> = {
  // First, because a run that is under way while the clock jumps is a run that is missing.
  unverified: async (alias) => {
    await rolledBack(alias);
    clock.passSeconds(601);
  },
  undeclared: async () => {},
  registered: declared,
  exposing: started,
  held: async (alias) => {
    await started(alias);
    await heldByTheBrain(alias);
  },
  deciding: async (alias) => {
    await started(alias);
    await askedByTheBrain(alias);
  },
  paused: async (alias) => {
    await started(alias);
    await act(alias, "pause");
  },
  paused_held: async (alias) => {
    await started(alias);
    await heldByTheBrain(alias);
    await act(alias, "pause");
  },
  paused_deciding: async (alias) => {
    await started(alias);
    await act(alias, "pause");
    await askedByTheBrain(alias);
  },
  promoted,
  promoted_deciding: async (alias) => {
    await promoted(alias);
    await askedByTheBrain(alias);
  },
  promoted_held: async (alias) => {
    await promoted(alias);
    await heldByTheBrain(alias);
  },
  recovering: rolledBack,
  recovered: async (alias) => {
    await rolledBack(alias);
    for (let n = 0; n < ENOUGH_FOR_PROOF; n++) await run(one, () => ({}), { alias });
  },
  not_recovered: async (alias) => {
    await rolledBack(alias);
    for (let n = 0; n < 20; n++) await run(one, () => ({ status: "failure", errorOrigin: "provider" }), { alias });
  },
  // Last, because from then on no rollback has reached everybody.
  rolled_back: async (alias) => {
    await silentRuntime();
    await started(alias);
    await act(alias, "rollback");
  },
};
const STATES = Object.keys(WAYS) as MachineState[];

const REFUSED = STATES.flatMap((state) =>
  (Object.keys(PEOPLES_COMMANDS) as Peoples[]).flatMap((command) => {
    const cell = MACHINE[state][command];
    const isByAlias = PEOPLES_COMMANDS[command].how.includes("ALIAS");
    return cell.kind === "refused" && isByAlias ? [[state, command, cell.code] as const] : [];
  }),
);

let clock: MovedClock;
let server: TestServer;
let one: Agent;

beforeAll(async () => {
  clock = new MovedClock();
  server = await openServer({ dataDir: await mkdtemp(join(tmpdir(), "flagback-test-")), clock });
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime") });
  await OpenFeature.setProviderAndWait("wrong-state", provider);
  one = { provider, client: OpenFeature.getClient("wrong-state") };
  for (const [state, way] of Object.entries(WAYS)) {
    const alias = aliasIn(state);
    await registered(alias);
    await way(alias);
    await eventually(`${alias} is ${state}`, async () => (await stateOf(alias)) === state);
  }
});

afterAll(async () => {
  await OpenFeature.clearProviders();
  await server.close();
  await rm(server.dataDir, { recursive: true, force: true });
});

test("every state of the machine has an alias here", () => {
  expect([...STATES].sort()).toEqual(Object.keys(MACHINE).sort());
  expect(REFUSED.length).toBeGreaterThan(STATES.length);
});

test.each(REFUSED)(
  "in state %s, %s is refused over HTTP with the state, the ways on, and who may",
  async (state, command, code) => {
    const { status, body } = await act(aliasIn(state), pathOf(command), bodyOf(command, aliasIn(state)));
    const { possible, ...problem } = body as unknown as Problem;
    expect({ status, code: problem.code, state: problem.state }).toEqual({ status: 409, code, state });
    expect(problem.detail).toContain(aliasIn(state));
    const ways = await waysOn(state);
    expect(ways.length).toBeGreaterThan(0);
    expect(possible).toEqual(ways);
    for (const { role, how } of ways) {
      expect(["operator", "lead"]).toContain(role);
      expect(how).not.toMatch(/ALIAS|DECISION/);
    }
  },
);

test.each(REFUSED.filter(([, command]) => argumentsOf(command, "") !== undefined))(
  "in state %s, %s is refused on the command line with the state, the ways on, and who may",
  async (state, command, code) => {
    const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
    expect(await runCli(argumentsOf(command, aliasIn(state)) ?? [], io)).toBe(1);
    const { stderr } = io.written;
    expect(stderr).toContain(`[${code}]`);
    expect(stderr).toContain(`state ${state}; from there:\n`);
    for (const { command: way, role, how } of await waysOn(state)) {
      expect(stderr).toContain(`  - ${way} (${role}): ${how}\n`);
    }
  },
);

test("a command that the state allows and the role does not says which role may", async () => {
  const onCall = await server.token("operator");
  const answer = await server.call(
    "POST",
    `/v1/aliases/${aliasIn("paused")}/resume`,
    { reason: "r" },
    { token: onCall },
  );
  expect(answer).toMatchObject({
    status: 403,
    body: { code: "forbidden", hint: expect.stringContaining("role lead") },
  });
});

test("unlocking without a reason is refused over HTTP and on the command line, and nothing is unlocked", async () => {
  const alias = aliasIn("recovering");
  for (const reason of [undefined, "", "   "]) {
    const { status, body } = await act(alias, "unlock", { version: `${alias}@2`, reason, rootCause: "known" });
    expect({ status, detail: body.detail }).toEqual({ status: 400, detail: expect.stringContaining("reason") });
  }
  const io = fakeIo({ env: { FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.adminToken } });
  expect(await runCli(["unlock", alias, `${alias}@2`, "--root-cause", "known"], io)).toBe(2);
  expect(io.written.stderr).toContain("--reason");
  const { body } = await server.call<Alias>("GET", `/v1/aliases/${alias}`);
  expect(body.locks.map(({ version }) => version)).toEqual([`${alias}@2`]);
});

/** What leads on from where the alias stands, by the table. */
async function waysOn(state: MachineState): Promise<Possibility[]> {
  const { body: alias } = await server.call<Alias>("GET", `/v1/aliases/${aliasIn(state)}`);
  return possibilities(alias, state);
}

function pathOf(command: Peoples): string {
  return command === "startRollout" ? "rollout" : PEOPLES_COMMANDS[command].name;
}

function bodyOf(command: Peoples, alias: string): object {
  if (command === "startRollout") return { candidate: `${alias}@2` };
  if (command === "rollForward") return { version: `${alias}@2`, reason: "a test" };
  return { reason: "a test", ...(command === "declareStable" ? { version: `${alias}@3` } : {}) };
}

/** The command as the table tells people to give it; undefined for one that the command line does not have. */
function argumentsOf(command: Peoples, alias: string): string[] | undefined {
  const how: string = PEOPLES_COMMANDS[command].how;
  if (!how.startsWith("flagback ")) return undefined;
  const filled = how.replace("ALIAS", alias).replace("VERSION", `${alias}@2`).replaceAll('"..."', "test");
  return filled.split(" ").slice(1);
}

function aliasIn(state: string): string {
  return `agent-${state.replaceAll("_", "-")}`;
}

/** As the server says in the refusal of a command that changes nothing anywhere: nothing is locked under this digest. */
async function stateOf(alias: string): Promise<string> {
  const { body } = await act(alias, "unlock", { digest: "0".repeat(64), reason: "a test" });
  return String(body.state);
}

function act(alias: string, verb: string, body: object = { reason: "a test" }): Promise<Answer> {
  return server.call("POST", `/v1/aliases/${alias}/${verb}`, body);
}

async function registered(alias: string): Promise<void> {
  for (const n of [1, 2, 3]) {
    await server.call("POST", "/v1/versions", {
      id: `${alias}@${n}`,
      kind: "prompt",
      payload: { prompt: `${alias} ${n}` },
    });
  }
  const policy = {
    guardrails: [
      { metric: "error_rate", max: 0.05 },
      { metric: "safety.leak", max: 0, action: "freeze" },
      { metric: "safety.doubt", max: 0, mode: "approval" },
    ],
    stages: [
      { name: "half", percent: 50 },
      { name: "full", percent: 100 },
    ],
    onNoData: { after: "30d", then: "hold" },
    recovery: { window: alias === aliasIn("unverified") ? "10m" : "30d" },
  };
  const { status, body } = await server.call("PUT", `/v1/aliases/${alias}`, { policy });
  if (status !== 200) throw new Error(JSON.stringify(body));
}

async function declared(alias: string): Promise<void> {
  await act(alias, "declare-stable", { version: `${alias}@1`, reason: "it served" });
}

async function started(alias: string, stage = "half"): Promise<void> {
  await declared(alias);
  await act(alias, "rollout", { candidate: `${alias}@2`, stage });
}

async function promoted(alias: string): Promise<void> {
  await started(alias, "full");
  await act(alias, "promote?wait=applied");
}

async function rolledBack(alias: string): Promise<void> {
  await started(alias);
  await act(alias, "rollback?wait=applied");
}

/** A runtime that acknowledges nothing. */
async function silentRuntime(): Promise<void> {
  const socket = new WebSocket(`${server.url.replace(/^http/, "ws")}/v1/stream`, [SUBPROTOCOL], {
    headers: { authorization: `Bearer ${await server.token("runtime")}` },
  });
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "hello", instance: randomBytes(16).toString("hex"), sdk: "silent" }));
  await once(socket, "message");
}

/** A guardrail whose action is `freeze` is broken by one run. */
function heldByTheBrain(alias: string): Promise<unknown> {
  return heldFor(alias, "leak");
}

/** A guardrail of mode `approval` is broken by one run. */
function askedByTheBrain(alias: string): Promise<unknown> {
  return heldFor(alias, "doubt");
}

function heldFor(alias: string, flag: string): Promise<unknown> {
  const flagged: Partial<Outcome> = { status: "success", safetyFlags: [flag] };
  return eventually(`the brain holds ${alias}`, async () => {
    await run(one, (version) => (version === `${alias}@2` ? flagged : {}), { alias });
    const { body } = await server.call<Alias>("GET", `/v1/aliases/${alias}`);
    return body.rollout?.hold !== undefined;
  });
}
