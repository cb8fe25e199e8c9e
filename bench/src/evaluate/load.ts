/** What it costs to take over 10 000 documents, and a change to one of them. */
import { decodeServerFrame, type RuntimeDocument, type ServerMessage } from "@flagback/schemas";
import { HeldSnapshot } from "../../../provider/src/snapshot/snapshot.ts";
import { type Estimate, medianOf } from "../statistics.ts";
import { cpuNs } from "./measure.ts";

export const DOCUMENTS = 10_000;
const DELTAS = 1_000;
const HISTORY = { epoch: "0".repeat(32), mark: "0".repeat(16) };

/** CPU time, median of rounds. */
export interface LoadCosts {
  readonly frameBytes: number;
  /** From the frame's text to messages: JSON and schema. */
  readonly decodeMs: Estimate;
  /** From the decoded snapshot to documents that can be evaluated. */
  readonly swapMs: Estimate;
  /** The first read of every one of them, when their answers are made. */
  readonly firstReadsMs: Estimate;
  /** A decoded change of one document, while all of them are held. */
  readonly deltaUs: Estimate;
  /** From the text of that change. */
  readonly deltaFrameUs: Estimate;
}

export async function loadCosts(rounds: number): Promise<LoadCosts> {
  const documents = Array.from({ length: DOCUMENTS }, (_, i) => documentOf(i, 1));
  const text = JSON.stringify({ type: "snapshot", ...HISTORY, revision: 1, documents });
  const costs = { decodeMs: [], swapMs: [], firstReadsMs: [], deltaUs: [], deltaFrameUs: [] } as Record<
    Exclude<keyof LoadCosts, "frameBytes">,
    number[]
  >;
  for (let round = -1; round < rounds; round++) {
    const held = new HeldSnapshot();
    let message = decoded(text);
    const deltas = Array.from({ length: DELTAS }, (_, i) => deltaText(i, round));
    const messages = deltas.map(decoded);
    const decodeNs = await cpuNs(() => {
      message = decoded(text);
    });
    const swapNs = await cpuNs(() => held.swap(message));
    const firstReadsNs = await cpuNs(() => {
      for (const { key } of documents) if (held.entry(key) === undefined) throw new Error(`${key} was not taken over`);
    });
    const deltaNs = await cpuNs(() => {
      for (const delta of messages) held.swap(delta);
    });
    const deltaFrameNs = await cpuNs(() => {
      for (const delta of deltas) held.swap(decoded(delta));
    });
    if (round < 0) continue;
    costs.decodeMs.push(decodeNs / 1e6);
    costs.swapMs.push(swapNs / 1e6);
    costs.firstReadsMs.push(firstReadsNs / 1e6);
    costs.deltaUs.push(deltaNs / 1e3 / DELTAS);
    costs.deltaFrameUs.push(deltaFrameNs / 1e3 / DELTAS);
  }
  const median = (of: keyof typeof costs) => medianOf(Float64Array.from(costs[of]));
  return {
    frameBytes: Buffer.byteLength(text),
    decodeMs: median("decodeMs"),
    swapMs: median("swapMs"),
    firstReadsMs: median("firstReadsMs"),
    deltaUs: median("deltaUs"),
    deltaFrameUs: median("deltaFrameUs"),
  };
}

type Change = Extract<ServerMessage, { type: "snapshot" | "delta" }>;

function decoded(text: string): Change {
  const frame = decodeServerFrame(text);
  if (frame.kind === "message" && (frame.message.type === "snapshot" || frame.message.type === "delta")) {
    return frame.message;
  }
  throw new Error(`the benchmark's frame is ${JSON.stringify(frame).slice(0, 200)}`);
}

/** Another document at each call and round. */
function deltaText(i: number, round: number): string {
  const revision = 2 + i;
  const put = [documentOf((i * 7 + round) % DOCUMENTS, revision)];
  return JSON.stringify({ type: "delta", from: revision - 1, revision, mark: HISTORY.mark, put, delete: [] });
}

/** Six in ten are flags, three of them with a rule; three are aliases under rollout; one is a kill switch. */
function documentOf(i: number, revision: number): RuntimeDocument {
  const key = `item-${i}`;
  switch (i % 10) {
    case 0:
      return {
        kind: "killSwitch",
        key,
        revision,
        engaged: [{ id: "1", scope: "agent=support-agent", reason: "rollback" }],
        failSafe: { engage: true, afterMs: 0 },
      };
    case 1:
    case 2:
    case 3:
      return aliasOf(key, revision);
    case 4:
    case 5:
    case 6:
      return {
        kind: "flag",
        key,
        revision,
        definition: { ...SWITCHABLE, targeting: { if: [{ "==": [{ var: "tenant" }, "acme"] }, "off", "on"] } },
      };
    default:
      return { kind: "flag", key, revision, definition: SWITCHABLE };
  }
}

const SWITCHABLE = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "on" } as const;

function aliasOf(key: string, revision: number): RuntimeDocument {
  const [stable, candidate] = [`${key}@1.0.0`, `${key}@1.1.0`];
  const payload = { model: "anthropic:claude-sonnet-4-6", prompt: "Be helpful.", temperature: 0.2 };
  return {
    kind: "alias",
    key,
    revision,
    salt: key,
    allocation: [
      { version: candidate, weight: 5_000 },
      { version: stable, weight: 95_000 },
    ],
    stable,
    versions: {
      [stable]: { payload, digest: "a".repeat(64) },
      [candidate]: { payload: { ...payload, prompt: "Be brief." }, digest: "b".repeat(64) },
    },
    rollout: { rolloutNumber: 1, candidate, stage: "validation" },
    revoked: {},
    outcomeTimeoutMs: 60_000,
    onLeaseLapse: "stable",
  };
}
