/**
 * From the commit of a kill switch to the last of N runtimes holding it, against a raw TCP write loop and a plain `ws`
 * broadcast of the same bytes in the same run; what a send costs the server; and what a connection costs it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Fleet, Floor } from "./load/fleet.ts";
import { type Spread, spreadOf } from "./load/statistics.ts";
import { type WholeProviders, wholeProviders } from "./load/whole-providers.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

/** Runtimes, flips at that size, and the limit of the last runtime's time against the raw write loop's. */
const SIZES = [
  { n: 100, flips: 60 },
  { n: 1_000, flips: 60, limit: 1.5 },
  { n: 5_000, flips: 20 },
  { n: 10_000, flips: 20 },
] as const;
const QUICK_SIZES = [{ n: 1_000, flips: 20, limit: 1.5 }] as const;
/** The flips of a size are spread over so many turns of each way. */
const ROUNDS = 4;
const WARM_UP_FLIPS = 10;
const CPU_RUNTIMES = 1_000;
/** Between two flips. Linux puts an acknowledgement off for 40 ms where nothing else happens. */
const REST_MS = 50;
const PROVIDERS = 1_000;
const PROVIDERS_FLIPS = 20;
const MAX_CPU_PER_SEND = 0.9;
const MAX_CONNECTION_BYTES = 10_000;

interface Measured {
  readonly n: number;
  readonly limit?: number;
  /** Milliseconds from the first write, or the commit, to the last socket. */
  readonly tcp: Spread;
  readonly ws: Spread;
  readonly flagback: Spread;
  /** From the commit to the median socket. */
  readonly flagbackMedian: Spread;
  readonly posted: Spread;
}

export const push: Benchmark = { summary: "a kill switch's way from its commit to the last of N runtimes", run };

async function run({ quick }: Options): Promise<Report> {
  const fleet = await Fleet.start();
  const floor = await Floor.start(fleet.clients);
  try {
    const memory = await connectionBytes(fleet, floor, quick ? 2_000 : 10_000);
    const cpu = await cpuPerSend(fleet, floor, quick ? 60 : 200);
    const measured: Measured[] = [];
    for (const size of quick ? QUICK_SIZES : SIZES) measured.push(await spread(fleet, floor, size));
    const whole = await wholeProviders(fleet, { n: PROVIDERS, flips: PROVIDERS_FLIPS, warmUpFlips: WARM_UP_FLIPS });
    return reportOf(measured, whole, cpu, memory);
  } finally {
    await floor.close();
    await fleet.close();
  }
}

/**
 * By turns, so that all three meet the same machine; and one after the other, so that none has the others' sockets to look after
 * and no process needs more files than systems let it open.
 */
async function spread(
  fleet: Fleet,
  floor: Floor,
  { n, flips, limit }: { readonly n: number; readonly flips: number; readonly limit?: number },
): Promise<Measured> {
  await sameBytes(fleet, floor);
  const flagback = { toLast: [] as number[], toMedian: [] as number[], toCommit: [] as number[] };
  const tcp: number[] = [];
  const ws: number[] = [];
  const ways: readonly Turn[] = [
    {
      group: "runtimes",
      connect: () => fleet.connect("runtimes", n),
      async flip(isCounted) {
        const { revision, postedMs, committedMs } = await fleet.flip();
        const { p50Ms, lastMs } = await fleet.arrivals("runtimes", revision);
        if (!isCounted) return;
        flagback.toCommit.push(committedMs - postedMs);
        flagback.toMedian.push(p50Ms - committedMs);
        flagback.toLast.push(lastMs - committedMs);
      },
    },
    floorTurn(fleet, floor, { name: "tcp", n, times: tcp }),
    floorTurn(fleet, floor, { name: "ws", n, times: ws }),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    for (const { group, connect, flip } of round % 2 === 0 ? ways : ways.toReversed()) {
      await connect();
      for (let i = -WARM_UP_FLIPS; i < flips / ROUNDS; i++) {
        await sleep(REST_MS);
        await flip(i >= 0);
      }
      await fleet.clients.ask("disconnect", { group });
    }
  }
  return {
    n,
    ...(limit === undefined ? {} : { limit }),
    tcp: spreadOf(tcp),
    ws: spreadOf(ws),
    flagback: spreadOf(flagback.toLast),
    flagbackMedian: spreadOf(flagback.toMedian),
    posted: spreadOf(flagback.toCommit),
  };
}

/** One that is compared, while it is its turn. */
interface Turn {
  readonly group: string;
  readonly connect: () => Promise<void>;
  readonly flip: (isCounted: boolean) => Promise<void>;
}

function floorTurn(
  fleet: Fleet,
  floor: Floor,
  { name, n, times }: { readonly name: "tcp" | "ws"; readonly n: number; readonly times: number[] },
): Turn {
  return {
    group: name,
    connect: () => floor.connect(name, name, n),
    async flip(isCounted) {
      const { startMs, revision } = await floor.peer.ask(name === "tcp" ? "broadcastTcp" : "broadcastWs");
      const { lastMs } = await fleet.arrivals(name, revision);
      if (isCounted) times.push(lastMs - startMs);
    },
  };
}

/** The floors send what the server sends for a flip. */
async function sameBytes(fleet: Fleet, floor: Floor): Promise<void> {
  const group = "one";
  await fleet.connect(group, 1);
  const { revision } = await fleet.flip();
  await fleet.arrivals(group, revision);
  await floor.peer.ask("send", { text: await fleet.clients.ask("lastText", { group }), from: revision });
  await fleet.clients.ask("disconnect", { group });
}

/**
 * CPU of one send, in microseconds: from a durable commit to the end of the turn in which every socket was written to, less the
 * same with nobody there. Medians, by turns, so that all meet the same machine; and at rest, as a fleet is whose kill switch is
 * needed, so that no way's sockets still wait for the kernel's acknowledgement of the last flip while another's do not.
 */
async function cpuPerSend(fleet: Fleet, floor: Floor, flips: number): Promise<SendCpu> {
  const { server } = fleet;
  const flagback: Way = {
    name: "flagback",
    group: "runtimes",
    flip: () => fleet.flip({ settled: false }),
    taken: () => server.ask("takeBroadcasts"),
  };
  const [ws, tcp] = (["ws", "tcp"] as const).map((name) => ({
    name,
    group: name,
    flip: () => floor.flip(name),
    taken: () => floor.peer.ask("takeBroadcasts"),
  })) as [Way, Way];
  const byTurns = [flagback, ws, tcp];
  await sameBytes(fleet, floor);
  const alone = await broadcastsUs(byTurns, flips);
  await fleet.connect("runtimes", CPU_RUNTIMES);
  await floor.connect("ws", "ws", CPU_RUNTIMES);
  await floor.connect("tcp", "tcp", CPU_RUNTIMES);
  const used = await broadcastsUs(byTurns, flips, fleet);
  for (const { group } of [flagback, ws, tcp]) await fleet.clients.ask("disconnect", { group });
  const perSend = ({ name }: Way) => (spreadOf(used[name]).p50 - spreadOf(alone[name]).p50) / CPU_RUNTIMES;
  return { tcp: perSend(tcp), ws: perSend(ws), flagback: perSend(flagback) };
}

/** One of those that are compared. */
interface Way {
  readonly name: "flagback" | "ws" | "tcp";
  readonly group: string;
  readonly flip: () => Promise<{ readonly revision: number }>;
  readonly taken: () => Promise<number[]>;
}

/** With a fleet, whose clients are waited for each time. */
async function broadcastsUs(
  ways: readonly Way[],
  flips: number,
  fleet?: Fleet,
): Promise<Record<Way["name"], number[]>> {
  const used = { flagback: [] as number[], ws: [] as number[], tcp: [] as number[] };
  for (let i = -WARM_UP_FLIPS; i < flips; i++) {
    for (const { name, group, flip, taken } of ways) {
      await sleep(REST_MS);
      await taken();
      const { revision } = await flip();
      await fleet?.arrivals(group, revision);
      const [us = Number.NaN] = await taken();
      if (i >= 0) used[name].push(us);
    }
  }
  return used;
}

interface SendCpu {
  readonly tcp: number;
  readonly ws: number;
  readonly flagback: number;
}

/** Resident memory that a connection adds, in bytes. */
async function connectionBytes(fleet: Fleet, floor: Floor, n: number) {
  // What the first connections cost is the code that they need.
  const warmUp = 500;
  await fleet.connect("runtimes", warmUp);
  await fleet.clients.ask("disconnect", { group: "runtimes" });
  await floor.connect("ws", "ws", warmUp);
  await fleet.clients.ask("disconnect", { group: "ws" });
  const before = await fleet.server.ask("usage", { collect: true });
  await fleet.connect("runtimes", n);
  const after = await fleet.server.ask("usage", { collect: true });
  await fleet.clients.ask("disconnect", { group: "runtimes" });
  const wsBefore = await floor.peer.ask("usage", { collect: true });
  await floor.connect("ws", "ws", n);
  const wsAfter = await floor.peer.ask("usage", { collect: true });
  await fleet.clients.ask("disconnect", { group: "ws" });
  return {
    n,
    flagback: (after.rssBytes - before.rssBytes) / n,
    flagbackHeap: (after.heapBytes - before.heapBytes) / n,
    ws: (wsAfter.rssBytes - wsBefore.rssBytes) / n,
    wsHeap: (wsAfter.heapBytes - wsBefore.heapBytes) / n,
  };
}

function reportOf(
  measured: readonly Measured[],
  whole: WholeProviders,
  cpu: SendCpu,
  memory: {
    readonly n: number;
    readonly flagback: number;
    readonly flagbackHeap: number;
    readonly ws: number;
    readonly wsHeap: number;
  },
): Report {
  const partOfWs = cpu.flagback / cpu.ws;
  const rows: Row[] = measured.flatMap(({ n, tcp, ws, flagback, flagbackMedian, posted }) => [
    { what: `${n}: raw TCP write loop, last socket, p50`, value: tcp.p50, unit: "ms" },
    { what: `${n}: ws broadcast, last socket, p50`, value: ws.p50, unit: "ms", ratioToFloor: ws.p50 / tcp.p50 },
    {
      what: `${n}: flagback, commit to last runtime, p50`,
      value: flagback.p50,
      unit: "ms",
      ratioToFloor: flagback.p50 / tcp.p50,
    },
    { what: `${n}: flagback, commit to last runtime, p99`, value: flagback.p99, unit: "ms" },
    { what: `${n}: flagback, commit to median runtime, p50`, value: flagbackMedian.p50, unit: "ms" },
    { what: `${n}: flagback, POST to commit, p50`, value: posted.p50, unit: "ms" },
  ]);
  const ofWhole = whole.flagback.p50 / whole.flagd.p50;
  rows.push(
    {
      what: `${PROVIDERS} whole providers in a process: flagd's, gRPC stream, last, p50`,
      value: whole.flagd.p50,
      unit: "ms",
    },
    { what: `${PROVIDERS} whole providers in a process: flagback's, last, p50`, value: whole.flagback.p50, unit: "ms" },
    { what: `${PROVIDERS} whole providers in a process: flagback's part of flagd's time`, value: ofWhole, unit: "" },
    { what: "CPU per send, raw TCP write loop", value: cpu.tcp, unit: "us" },
    { what: "CPU per send, ws broadcast", value: cpu.ws, unit: "us", ratioToFloor: cpu.ws / cpu.tcp },
    { what: "CPU per send, flagback", value: cpu.flagback, unit: "us", ratioToFloor: cpu.flagback / cpu.tcp },
    { what: "CPU per send, flagback's part of ws's", value: partOfWs, unit: "", limit: MAX_CPU_PER_SEND },
    { what: `memory per connection at ${memory.n}, ws: resident`, value: memory.ws, unit: "B" },
    { what: `memory per connection at ${memory.n}, ws: heap`, value: memory.wsHeap, unit: "B" },
    {
      what: `memory per connection at ${memory.n}, flagback: resident`,
      value: memory.flagback,
      unit: "B",
      limit: MAX_CONNECTION_BYTES,
    },
    { what: `memory per connection at ${memory.n}, flagback: heap`, value: memory.flagbackHeap, unit: "B" },
  );
  const failures: string[] = [];
  for (const { n, limit, tcp, flagback } of measured) {
    const ratio = flagback.p50 / tcp.p50;
    if (limit !== undefined && !(ratio <= limit))
      failures.push(`push to ${n} takes ${ratio.toFixed(2)} times the raw write loop, more than ${limit}`);
  }
  if (!(partOfWs <= MAX_CPU_PER_SEND))
    failures.push(`a send costs ${partOfWs.toFixed(2)} of ws's, more than ${MAX_CPU_PER_SEND}`);
  // Less than any write costs: the broadcast was not in what was measured.
  if (!(cpu.flagback >= cpu.tcp / 2))
    failures.push(`a send costs ${cpu.flagback.toFixed(2)} us: that can't be all of it`);
  if (!(memory.flagback > 0 && memory.flagback <= MAX_CONNECTION_BYTES))
    failures.push(`a connection takes ${memory.flagback.toFixed(0)} bytes, not up to ${MAX_CONNECTION_BYTES}`);
  return { rows, failures };
}
