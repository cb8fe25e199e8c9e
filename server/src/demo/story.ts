/**
 * What the demo says before and after the live view, as lines. Pure.
 */
import type { AuditEvent } from "@flagback/schemas";
import { millis, moment, type Paint } from "../cli/text.ts";
import { grouped } from "./dashboard.ts";
import type { HealthyResult, RollbackFacts, RollbackResult } from "./result.ts";
import { CANDIDATE, STABLE, SWITCH, TIME_COMPRESSION } from "./scenario.ts";

const ORDER_SHOWN = 20;

export function opening(options: {
  readonly seed: number;
  readonly order: readonly number[];
  readonly runsPerSecond: number;
  readonly isHealthy: boolean;
}): string[] {
  const { seed, order, runsPerSecond, isHealthy } = options;
  return [
    `${order.length} recorded agent runs (tau-bench airline, gpt-4o; 42 % succeed) are replayed again and again,`,
    `about ${grouped(runsPerSecond)} a second on three runtimes, in the order of seed ${seed}:`,
    `  ${order.slice(0, ORDER_SHOWN).join(" ")} ... (rows of agent-runs.csv)`,
    `Latency is synthesised, because the recording has no times; the real waits are ${TIME_COMPRESSION} times shorter.`,
    isHealthy
      ? `${STABLE} and ${CANDIDATE} both replay the runs as they were recorded.`
      : `${STABLE} replays them as recorded; ${CANDIDATE} spoils 45 % of the successes (19 points more failure).`,
  ];
}

/** The configuration with its comments: each threshold beside its reason. */
export function policyLines(yaml: string, paint: Paint): string[] {
  const begin = yaml.indexOf("    policy:");
  const end = yaml.indexOf("killSwitches:");
  return yaml
    .slice(begin, end)
    .trimEnd()
    .split("\n")
    .map((line) => line.slice(2))
    .map((line) => (line.trim().startsWith("#") ? paint("dim", line) : line));
}

export function verdictLines(event: AuditEvent, facts: RollbackFacts, result: RollbackResult, paint: Paint): string[] {
  const { incident } = facts;
  const evidence = (event.evidence ?? []).map(
    ({ guardrail, rate, p0, n, logE }) =>
      `  ${guardrail.padEnd(18)} ${rate.toFixed(3)} of ${p0} allowed in ${grouped(n)} runs, log e ${logE.toFixed(2)}`,
  );
  const decided = result.decideMs === null ? "" : `, ${millis(result.decideMs)} after the last of them came in`;
  return [
    "",
    `${paint(["bold", "red"], "STOP")}  ${event.reason} after ${result.outcomesToDecision ?? "some"} outcomes of the candidate${decided}`,
    ...evidence,
    "",
    paint("bold", `One transaction (audit row ${event.id}, revision ${event.revision}, by ${event.actor.name})`),
    `  when      ${moment(event.timestamp)} UTC${result.commitMs === null ? "" : `, committed in ${millis(result.commitMs)}`}`,
    `  from      ${event.fromVersion} at stage ${event.stage}: weight ${result.candidateWeight}, ${result.locked ? "locked" : "NOT LOCKED"}`,
    `  to        ${event.toVersion}`,
    `  reason    ${event.reason}`,
    `  decision  ${event.decisionId}`,
    `  switch    ${SWITCH} ${result.writesDisabled ? "engaged" : "NOT ENGAGED"}, ${event.switchStatus ?? "status unknown"}`,
    `  incident  ${incident.id}, ${incident.state}`,
  ];
}

export interface RuntimeProof {
  readonly name: string;
  /** Null when it never acknowledged. */
  readonly ackMs: number | null;
  readonly resolutions: number;
  readonly candidate: number;
  readonly writesRefused: number;
  readonly firstRefusal?: string;
}

export function proofLines(proofs: readonly RuntimeProof[], paint: Paint): string[] {
  const refusal = proofs.find((proof) => proof.firstRefusal)?.firstRefusal;
  return [
    "",
    paint("bold", "Every runtime has it"),
    ...proofs.map(
      ({ name, ackMs, resolutions, candidate, writesRefused }) =>
        `  ${name}  ${ackMs === null ? "NOT ACKNOWLEDGED" : `acknowledged after ${millis(ackMs)}`}; since then ${grouped(resolutions)} resolutions, ` +
        `${candidate} of the candidate; ${grouped(writesRefused)} writes refused`,
    ),
    ...(refusal ? [`  what an agent sees: ${refusal}`] : []),
  ];
}

export function healthyLines(result: HealthyResult, paint: Paint): string[] {
  const { candidateRuns, candidateFailures, peakLogE, threshold } = result;
  const failed = ((100 * candidateFailures) / Math.max(1, candidateRuns)).toFixed(1);
  return [
    "",
    `${paint(["bold", "green"], "NO STOP")}  ${grouped(candidateRuns)} runs of the candidate, ${failed} % failed: ` +
      `log e ${peakLogE?.toFixed(2)} at most, a stop needs ${threshold?.toFixed(2)}`,
  ];
}

/** How to go on while the demo stays up. */
export function stayingLines(options: {
  readonly url: string;
  readonly token: string;
  readonly program: string;
  /** Of the rollback, where there was one. */
  readonly incident: string | undefined;
  readonly paint: Paint;
}): string[] {
  const { url, token, program, incident, paint } = options;
  const commands = incident
    ? [
        "get aliases",
        "audit",
        "runtimes",
        `incident release ${incident} --reason "seen it"`,
        `unlock support-agent ${CANDIDATE} --reason "once more" --root-cause "the tool timed out"`,
        "rollout start support-agent --stage validation",
      ]
    : ["get aliases", "rollout status support-agent", 'rollback support-agent --reason "by hand"'];
  return [
    "",
    `The server stays up at ${paint("bold", url)} until Ctrl-C. In another terminal:`,
    `  export FLAGBACK_URL=${url} FLAGBACK_TOKEN=${token}`,
    ...commands.map((command) => `  ${program} ${command}`),
    "",
  ];
}
