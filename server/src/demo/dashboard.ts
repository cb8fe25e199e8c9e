/**
 * What the demo shows while it runs, as text: a block for a terminal, a line for everything else. Pure.
 */
import type { GuardrailEvidence } from "@flagback/schemas";
import type { RolloutStatus, VersionTraffic } from "../cli/api-answers.ts";
import { type Paint, percent } from "../cli/text.ts";
import { CANDIDATE, STABLE } from "./scenario.ts";

/** What is known at one moment. */
export interface View {
  readonly elapsedMs: number;
  readonly phase: string;
  /** Absent before the rollout. */
  readonly rollout?: RolloutStatus;
  readonly runtimes: readonly RuntimeView[];
}

export interface RuntimeView {
  readonly name: string;
  readonly state: "running" | "killed";
  readonly runs: number;
  readonly writesRefused: number;
}

const BAR_WIDTH = 24;
const SHORT_BAR_WIDTH = 12;

/** Part of a bar from 0 to 1; what lies outside is drawn as the end it passed. */
export function bar(part: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, part)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

/** The live block: traffic, evidence against its threshold, runtimes. */
export function dashboard(view: View, paint: Paint): string[] {
  const { rollout, runtimes } = view;
  const lines = [paint("bold", `${seconds(view.elapsedMs)}  ${view.phase}`)];
  if (rollout) {
    lines.push("", paint("dim", "traffic since the rollout began"));
    for (const version of [STABLE, CANDIDATE]) lines.push(`  ${trafficText(rollout, version, paint)}`);
    lines.push("", paint("dim", "evidence against the candidate"));
    for (const evidence of rollout.evidence) lines.push(`  ${evidenceText(evidence)}`);
    lines.push(`  ${together(rollout, paint)}`);
  }
  lines.push("", paint("dim", "runtimes"));
  for (const runtime of runtimes) lines.push(`  ${runtimeText(runtime, paint)}`);
  return lines;
}

/** The same on one line. */
export function dashboardLine(view: View): string {
  const { rollout } = view;
  const head = `${seconds(view.elapsedMs)}  ${view.phase}`;
  if (rollout === undefined) {
    return `${head}: ${grouped(view.runtimes.reduce((sum, runtime) => sum + runtime.runs, 0))} runs`;
  }
  const versions = [STABLE, CANDIDATE].map((version) => {
    const { settled, failures } = trafficOf(rollout, version);
    return `${shortVersion(version)} ${grouped(settled)} runs, ${rate(failures, settled)} failed`;
  });
  const { logE, threshold } = rollout;
  const evidence =
    logE === null || threshold === null
      ? "none yet"
      : `${bar(logE / threshold, SHORT_BAR_WIDTH)} ${logE.toFixed(2)} of ${threshold.toFixed(2)}`;
  return `${head}: ${versions.join(" | ")} | evidence ${evidence}`;
}

function trafficText(rollout: RolloutStatus, version: string, paint: Paint): string {
  const { settled, failures } = trafficOf(rollout, version);
  const weight = version === CANDIDATE ? rollout.weight : 100_000 - rollout.weight;
  const failed = `${rate(failures, settled)} failed`;
  return [
    version.padEnd(STABLE.length + 1),
    percent(weight).padStart(6),
    `${grouped(settled)} runs`.padStart(14),
    `   ${version === CANDIDATE ? paint("yellow", failed) : failed}`,
  ].join("");
}

function evidenceText({ guardrail, n, k, rate: badRate, p0, logE, share, threshold }: GuardrailEvidence): string {
  // A guardrail alone would need its share's price on top: the whole bar is what the sum needs.
  const weighted = logE + Math.log(share);
  return [
    guardrail.padEnd(18),
    bar(weighted / threshold, BAR_WIDTH),
    `  ${badRate.toFixed(3)} of ${p0} allowed, ${Number(k.toFixed(1))} in ${grouped(n)}`,
  ].join("");
}

function together({ logE, threshold }: RolloutStatus, paint: Paint): string {
  if (logE === null || threshold === null) return "nothing was judged yet";
  const filled = bar(logE / threshold, BAR_WIDTH);
  const style = logE >= threshold ? "red" : logE > threshold / 2 ? "yellow" : "green";
  return `${"together".padEnd(18)}${paint(style, filled)}  log e ${logE.toFixed(2)}, stops at ${threshold.toFixed(2)}`;
}

function runtimeText({ name, state, runs, writesRefused }: RuntimeView, paint: Paint): string {
  if (state === "killed") return `${name}  ${paint("red", "killed (SIGKILL)")}`;
  const refused = writesRefused === 0 ? "" : `   ${paint("red", `${grouped(writesRefused)} writes refused`)}`;
  return `${name}  ${`${grouped(runs)} runs`.padStart(12)}${refused}`;
}

function trafficOf(rollout: RolloutStatus, version: string): VersionTraffic {
  return rollout.traffic.find((each) => each.version === version) ?? { version, assigned: 0, settled: 0, failures: 0 };
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1).padStart(5)} s`;
}

function rate(part: number, whole: number): string {
  return whole === 0 ? "none" : `${((100 * part) / whole).toFixed(1)} %`;
}

/** `12 345`. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, " ");
}

function shortVersion(version: string): string {
  return version.slice(version.indexOf("@") + 1);
}
