/**
 * A process of runtimes that report outcomes: at a fixed rate, or as fast as the server acknowledges. Each announces its
 * runs and reports them in the same batch, as a runtime does whose runs are short.
 */
import { ALIAS, CANDIDATE, STABLE } from "./bench-agent.ts";
import { sharedNowMs } from "./clock.ts";
import { LightClient } from "./light-client.ts";
import { commonPauses, LEAST_PAUSE_MS, type Pause, pausedMs, totalMs } from "./pause-watch.ts";
import { serve } from "./peer.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import { lookAtUsage } from "./usage.ts";

/** Batches of one reporter on their way at once, where nobody asks for more: what a provider allows itself. */
const WINDOW = 4;
const CONNECT_AT_ONCE = 200;
/** Of ten runs, this many are the candidate's. */
const CANDIDATE_TENTHS = 5;
const PACE_MS = 5;
const SECOND_MS = 1_000;
/** How long what is on its way at the end may take to be acknowledged. */
const DRAIN_TIMEOUT_MS = 30_000;

interface Reporter {
  readonly client: LightClient;
  seq: number;
  /** When each batch that is not acknowledged was sent. */
  readonly sent: Map<number, number>;
}

let reporters: Reporter[] = [];
let batch = 1;
let batchesInFlight = WINDOW;
let pacing: NodeJS.Timeout | null = null;
let isOpen = false;
let startedMs = 0;
let acknowledged = 0;
/** The same since the start. */
let everAcknowledged = 0;
let reported = 0;
let runs = 0;
let revision = 0;
/** When this process did not run, since `reset`. What would have been sent meanwhile is left out, and not made up for. */
let skipped: Pause[] = [];
/** When each batch was sent that was acknowledged since `reset`, and how long that took; flat, as there are millions. */
let sentAtMs: number[] = [];
let waitedMs: number[] = [];

const skills = {
  /** `perSecond` outcomes over all reporters; without it as many as are acknowledged. */
  async start(input: {
    port: number;
    token: string;
    reporters: number;
    batch: number;
    perSecond?: number;
    /** Batches of one reporter on their way at once, without `perSecond`. */
    window?: number;
  }): Promise<void> {
    batch = input.batch;
    batchesInFlight = input.window ?? WINDOW;
    reporters = [];
    for (let begun = 0; begun < input.reporters; begun += CONNECT_AT_ONCE) {
      const n = Math.min(CONNECT_AT_ONCE, input.reporters - begun);
      const some = Array.from({ length: n }, () => open(input.port, input.token));
      reporters.push(...some);
      await Promise.all(some.map(({ client }) => client.ready()));
    }
    if (reporters.some(({ client }) => !client.isReady)) throw new Error("a reporter was not let in");
    revision = Math.max(...reporters.map(({ client }) => client.revision));
    skills.reset();
    everAcknowledged = 0;
    isOpen = true;
    if (input.perSecond !== undefined) pace(input.perSecond);
    else for (const reporter of reporters) send(reporter, batchesInFlight);
  },
  /** Begins to count anew. */
  reset(): void {
    startedMs = sharedNowMs();
    acknowledged = 0;
    reported = 0;
    sentAtMs = [];
    waitedMs = [];
    skipped = [];
  },
  /** Since `reset`; costs nothing to ask. */
  acknowledged: () => acknowledged,
  /**
   * What came since `reset`. `ranFor` is how long each waited while the machine ran, given when an idle process did not:
   * the machine stood still where this one did not run either.
   */
  counted({ idlePauses = [] }: { idlePauses?: readonly Pause[] } = {}) {
    const seconds = (sharedNowMs() - startedMs) / SECOND_MS;
    const pauses = commonPauses(idlePauses, skipped);
    return {
      reported,
      acknowledged,
      perSecond: acknowledged / seconds,
      waited: spreadOrNull(waitedMs),
      ranFor: spreadOrNull(
        waitedMs.map((ms, i) => {
          const sentMs = sentAtMs[i] as number;
          return ms - pausedMs(pauses, sentMs, sentMs + ms);
        }),
      ),
      pauses,
      /** Time that was left out, in milliseconds. */
      skippedMs: totalMs(skipped),
    };
  },
  /** Sends nothing more, waits until everything is acknowledged, and hangs up. */
  async stop() {
    isOpen = false;
    if (pacing) clearInterval(pacing);
    pacing = null;
    const counted = skills.counted();
    const deadlineMs = sharedNowMs() + DRAIN_TIMEOUT_MS;
    while (reporters.some(({ sent }) => sent.size > 0)) {
      if (sharedNowMs() > deadlineMs) throw new Error("batches were sent and never acknowledged");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const total = { reported, acknowledged, everAcknowledged };
    for (const { client } of reporters) client.destroy();
    reporters = [];
    return { ...counted, total };
  },
  usage: () => lookAtUsage(),
};
export type ReporterSkills = typeof skills;

function open(port: number, token: string): Reporter {
  const client = new LightClient({
    speech: "flagback",
    port,
    token,
    onRevision: (at, self) => {
      self.acknowledge();
      revision = at;
    },
    onOutcomesAck: (through) => settled(reporter, through),
  });
  const reporter: Reporter = { client, seq: 0, sent: new Map() };
  return reporter;
}

function spreadOrNull(ms: readonly number[]): Spread | null {
  return ms.length === 0 ? null : spreadOf(ms);
}

function settled(reporter: Reporter, through: number): void {
  const now = sharedNowMs();
  for (const [seq, at] of reporter.sent) {
    if (seq > through) break;
    reporter.sent.delete(seq);
    acknowledged += batch;
    everAcknowledged += batch;
    sentAtMs.push(at);
    waitedMs.push(now - at);
  }
  if (pacing === null && isOpen) send(reporter, batchesInFlight - reporter.sent.size);
}

function pace(perSecond: number): void {
  let begunMs = sharedNowMs();
  let turnMs = begunMs;
  let turn = 0;
  let sent = 0;
  pacing = setInterval(() => {
    const nowMs = sharedNowMs();
    const dueMs = turnMs + PACE_MS;
    if (nowMs - dueMs > LEAST_PAUSE_MS) {
      begunMs += nowMs - dueMs;
      skipped.push({ fromMs: dueMs, toMs: nowMs });
    }
    turnMs = nowMs;
    const due = ((sharedNowMs() - begunMs) * perSecond) / 1_000;
    for (; sent < due; sent += batch) {
      send(reporters[turn % reporters.length] as Reporter);
      turn += 1;
    }
  }, PACE_MS);
}

function send(reporter: Reporter, batches = 1): void {
  const texts: string[] = [];
  const now = sharedNowMs();
  for (let i = 0; i < batches; i++) {
    reporter.seq += 1;
    reporter.sent.set(reporter.seq, now);
    reported += batch;
    texts.push(batchText(reporter.seq));
  }
  if (texts.length > 0) reporter.client.sendTexts(texts);
}

/** A healthy run in the shape of a provider's: tools, tokens, cost, and one field that no guardrail asks for. */
function batchText(seq: number): string {
  const items: string[] = [];
  let candidates = 0;
  for (let i = 0; i < batch; i++) {
    runs += 1;
    const isCandidate = runs % 10 < CANDIDATE_TENTHS;
    if (isCandidate) candidates += 1;
    const version = isCandidate ? CANDIDATE : STABLE;
    items.push(
      `{"runId":"run-${process.pid}-${runs}","alias":"${ALIAS}","version":"${version}","status":"${runs % 97 === 0 ? "failure" : "success"}",` +
        `"durationMs":${400 + (runs % 800)},"toolCalls":3,"toolErrors":0,"costUsd":0.012,"inputTokens":1200,"outputTokens":340,"assignedSeq":${seq}}`,
    );
  }
  const groups = [
    { version: CANDIDATE, n: candidates },
    { version: STABLE, n: batch - candidates },
  ].filter(({ n }) => n > 0);
  const assigned = groups.map(
    ({ version, n }) => `{"alias":"${ALIAS}","version":"${version}","revision":${revision},"n":${n}}`,
  );
  return `{"type":"outcomes","seq":${seq},"assigned":[${assigned.join(",")}],"items":[${items.join(",")}]}`;
}

serve(skills);
