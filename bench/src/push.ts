/**
 * From the commit of a kill switch to the last of N runtimes holding it, against a raw TCP write loop and a plain `ws`
 * broadcast of the same bytes in the same run; what a send costs the server; and what a connection costs it.
 */
import { Fleet, Floor } from "./load/fleet.ts";
import { type Spread, spreadOf } from "./load/statistics.ts";
import type { Usage } from "./load/usage.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

/** Runtimes, flips at that size, and the limit of the last runtime's time against the raw write loop's. */
const SIZES = [
  { n: 100, flips: 60 },
  { n: 1_000, flips: 60, limit: 1.5 },
  { n: 5_000, flips: 20 },
  { n: 10_000, flips: 20 },
] as const;
const QUICK_SIZES = [{ n: 1_000, flips: 20, limit: 1.5 }] as const;
const WARM_UP_FLIPS = 10;
const CPU_RUNTIMES = 1_000;
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
    const cpu = await cpuPerSend(fleet, floor, quick ? 20 : 100);
    const measured: Measured[] = [];
    for (const size of quick ? QUICK_SIZES : SIZES) measured.push(await spread(fleet, floor, size));
    return reportOf(measured, cpu, memory);
  } finally {
    await floor.close();
    await fleet.close();
  }
}

/** Interleaved, so that all three meet the same machine. */
async function spread(
  fleet: Fleet,
  floor: Floor,
  { n, flips, limit }: { readonly n: number; readonly flips: number; readonly limit?: number },
): Promise<Measured> {
  await fleet.connect("runtimes", n);
  await floor.connect("ws", "ws", n);
  const useTcp = async (work: () => Promise<void>) => {
    await floor.connect("tcp", "tcp", n);
    await work();
    await fleet.clients.ask("disconnect", { group: "tcp" });
  };
  const times = {
    tcp: [] as number[],
    ws: [] as number[],
    flagback: [] as number[],
    median: [] as number[],
    post: [] as number[],
  };
  await sameBytes(fleet, floor);
  await useTcp(async () => {
    for (let i = -WARM_UP_FLIPS; i < flips; i++) {
      const flip = await fleet.flip();
      const held = await fleet.arrivals("runtimes", flip.revision);
      const tcp = await floor.peer.ask("broadcastTcp");
      const tcpHeld = await fleet.arrivals("tcp", tcp.revision);
      const ws = await floor.peer.ask("broadcastWs");
      const wsHeld = await fleet.arrivals("ws", ws.revision);
      if (i < 0) continue;
      times.flagback.push(held.lastMs - flip.committedMs);
      times.median.push(held.p50Ms - flip.committedMs);
      times.post.push(flip.committedMs - flip.postedMs);
      times.tcp.push(tcpHeld.lastMs - tcp.startMs);
      times.ws.push(wsHeld.lastMs - ws.startMs);
    }
  });
  for (const group of ["runtimes", "ws"]) await fleet.clients.ask("disconnect", { group });
  return {
    n,
    ...(limit === undefined ? {} : { limit }),
    tcp: spreadOf(times.tcp),
    ws: spreadOf(times.ws),
    flagback: spreadOf(times.flagback),
    flagbackMedian: spreadOf(times.median),
    posted: spreadOf(times.post),
  };
}

/** The floors send what the server last sent. */
async function sameBytes(fleet: Fleet, floor: Floor): Promise<void> {
  const { revision } = await fleet.flip({ settled: false });
  await fleet.arrivals("runtimes", revision);
  await floor.peer.ask("send", { text: await fleet.clients.ask("lastText", { group: "runtimes" }), from: revision });
}

/**
 * CPU of the server for one send, in microseconds, to runtimes that say nothing back, as the floor's sockets do: what a flip
 * costs with them, less what it costs with nobody there.
 */
async function cpuPerSend(fleet: Fleet, floor: Floor, flips: number) {
  const flipOf = async () => {
    const { revision } = await fleet.flip({ settled: false });
    return () => fleet.arrivals("runtimes", revision);
  };
  const broadcastOf = async () => {
    const { revision } = await floor.peer.ask("broadcastWs");
    return () => fleet.arrivals("ws", revision);
  };
  const alone = { flagback: await cpuMs(fleet.server, flips, flipOf), ws: await cpuMs(floor.peer, flips, broadcastOf) };
  await fleet.connect("runtimes", CPU_RUNTIMES, { acknowledges: false });
  await floor.connect("ws", "ws", CPU_RUNTIMES);
  await sameBytes(fleet, floor);
  const rounds = 4;
  const used = { flagback: 0, ws: 0 };
  for (let round = 0; round < rounds; round++) {
    used.flagback += (await cpuMs(fleet.server, flips / rounds, flipOf, true)) / rounds;
    used.ws += (await cpuMs(floor.peer, flips / rounds, broadcastOf, true)) / rounds;
  }
  for (const group of ["runtimes", "ws"]) await fleet.clients.ask("disconnect", { group });
  const perSend = (withRuntimes: number, without: number) => ((withRuntimes - without) * 1_000) / CPU_RUNTIMES;
  return { flagback: perSend(used.flagback, alone.flagback), ws: perSend(used.ws, alone.ws) };
}

/** CPU of one flip, in milliseconds, averaged after a warm-up. */
async function cpuMs(
  peer: { ask(name: "usage", input: { collect: boolean }): Promise<Usage> },
  flips: number,
  flip: () => Promise<() => Promise<unknown>>,
  awaited = false,
): Promise<number> {
  let before = 0;
  for (let i = -WARM_UP_FLIPS; i < flips; i++) {
    if (i === 0) before = (await peer.ask("usage", { collect: false })).cpuMs;
    const arrivals = await flip();
    if (awaited) await arrivals();
  }
  return ((await peer.ask("usage", { collect: false })).cpuMs - before) / flips;
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
  cpu: { readonly flagback: number; readonly ws: number },
  memory: {
    readonly n: number;
    readonly flagback: number;
    readonly flagbackHeap: number;
    readonly ws: number;
    readonly wsHeap: number;
  },
): Report {
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
  rows.push(
    { what: "CPU per send, ws broadcast", value: cpu.ws, unit: "us" },
    { what: "CPU per send, flagback", value: cpu.flagback, unit: "us", ratioToFloor: cpu.flagback / cpu.ws },
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
    if (limit !== undefined && ratio > limit)
      failures.push(`push to ${n} takes ${ratio.toFixed(2)} times the raw write loop, more than ${limit}`);
  }
  if (cpu.flagback / cpu.ws > MAX_CPU_PER_SEND)
    failures.push(`a send costs ${(cpu.flagback / cpu.ws).toFixed(2)} of ws's, more than ${MAX_CPU_PER_SEND}`);
  if (memory.flagback > MAX_CONNECTION_BYTES)
    failures.push(`a connection takes ${memory.flagback.toFixed(0)} bytes, more than ${MAX_CONNECTION_BYTES}`);
  return { rows, failures };
}
