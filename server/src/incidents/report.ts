/**
 * The report of an incident: a blameless post-mortem with the facts in place, and room for what only people know.
 */
import {
  type AuditEvent,
  type GuardrailEvidence,
  type Incident,
  type IncidentSnapshot,
  isDrillName,
  type Outcome,
  type Recovery,
} from "@flagback/schemas";
import type { Timings } from "../store/store.ts";
import { changeText } from "./change-text.ts";
import { fenced, inline, tableOf } from "./markdown.ts";

export interface ReportFacts {
  readonly incident: Incident;
  readonly timings: Timings;
  readonly outcomesToDecision: number | null;
  /** As it stands now. */
  readonly recovery: Recovery;
  /** Missing for an incident of an older server. */
  readonly snapshot: IncidentSnapshot | undefined;
  /** What was audited of the alias since the rollout began, oldest first. */
  readonly audit: readonly AuditEvent[];
}

const DRILL =
  "**This was a drill.** A rollback was rehearsed on a shadow of the alias: its candidate was broken on purpose, its runs were played, and no user and no agent at work met any of it. The server, the runtimes and the way of the rollback were real.";
const TO_FILL_IN = "_To be filled in._";

export function reportOf(facts: ReportFacts): string {
  const { incident } = facts;
  return `${[
    `# ${inline(incident.alias)}: rollback of ${inline(incident.candidate)}`,
    `${incident.id} · ${incident.state} · opened ${moment(incident.openedAt)} UTC`,
    ...(isDrillName(incident.alias) ? [DRILL] : []),
    "This report is about how the system behaved, and not about who is to blame. Facts are filled in; what only people know is theirs to add.",
    section("Summary", summaryOf(facts)),
    section(
      "Impact",
      [
        impactOf(facts),
        `What users noticed: ${isDrillName(incident.alias) ? "nothing, because it was a drill." : TO_FILL_IN}`,
      ].join("\n\n"),
    ),
    section("How long it took", durations(facts)),
    section("Timeline (UTC)", timeline(facts)),
    section("What changed", changesOf(facts)),
    section("Why it was stopped", whyOf(incident)),
    section("Who and what was affected", affected(facts)),
    section("Recovery", recoveryOf(facts)),
    section("Root cause", incident.rootCause ? quoted(incident.rootCause) : TO_FILL_IN),
    section("What went well", TO_FILL_IN),
    section("What went badly, and where we were lucky", TO_FILL_IN),
    section("What the gate or the canary missed", TO_FILL_IN),
    section("Actions", tableOf(["Action", "Owner", "Due"], [["", "", ""]])),
    section("Notes", notesOf(incident).map(quoted).join("\n\n") || "_None._"),
    section("Where this comes from", sources(facts)),
  ].join("\n\n")}\n`;
}

function section(title: string, body: string): string {
  return `## ${title}\n\n${body}`;
}

function summaryOf({ incident, outcomesToDecision, snapshot }: ReportFacts): string {
  const { candidate, target, stage, reason, attribution, rolloutNumber } = incident;
  const by = whoOf(incident);
  const after = outcomesToDecision === null ? "" : ` after ${countOf(outcomesToDecision, "outcome")}`;
  const cause = attribution === undefined ? "" : `, attributed to ${ATTRIBUTED[attribution]}`;
  return [
    `Rollout ${rolloutNumber} of \`${candidate}\` was stopped at stage \`${stage}\`: reason \`${reason}\` (${REASON_MEANS[reason]})${cause}.`,
    ...brokenOf(incident),
    `${by}${after}. All traffic went back to \`${target}\`, the candidate was ${snapshot?.policy.lockCandidate === false ? "not locked" : "locked"}, and the policy's kill switches were engaged in the same transaction.`,
    ...togetherOf(incident),
    STATE_MEANS[incident.state],
  ].join(" ");
}

function whoOf({ attribution, approval, reason, timeline }: Incident): string {
  if (approval?.isDeadline)
    return "The brain (flagback's statistical test) asked for approval, nobody answered in time, and it rolled back as its policy says";
  if (approval) return `The brain asked for approval, and ${inline(approval.by)} approved the rollback`;
  if (attribution !== undefined) return "The brain, flagback's statistical test, rolled it back by itself";
  // A signal from outside, or failing checks.
  return reason === "manual"
    ? "A person rolled it back"
    : `${inline(timeline[0]?.by ?? "Somebody")} rolled it back on a signal`;
}

function togetherOf({ id, coordinated }: Incident): string[] {
  const others = coordinated?.incidents.filter((each) => each !== id) ?? [];
  return others.length > 0 ? [`Rolled back together with ${others.join(", ")} (${coordinated?.id}).`] : [];
}

/** What was measured of the guardrails that were broken, the worst first. */
function brokenOf({ evidence, candidate }: Incident): string[] {
  const broken = evidence.filter(({ rate, p0, n }) => n > 0 && rate > p0).sort((a, b) => b.logE - a.logE);
  if (broken.length === 0) return [];
  const told = broken.map(
    ({ guardrail, k, n, rate, p0 }) =>
      `${numberOf(k)} of ${countOf(n, "run")} broke \`${guardrail}\` (${percentOf(rate)}, of which ${percentOf(p0)} were allowed)`,
  );
  return [`Of \`${candidate}\`, ${told.join("; ")}.`];
}

const REASON_MEANS: Readonly<Record<Incident["reason"], string>> = {
  rollback_required: "something happened that the policy never allows, or nothing was heard of it any more",
  sla_breach: "it broke a limit of the policy",
  error_spike: "it did worse than the stable version at the same time",
  manual: "somebody decided so",
};

const ATTRIBUTED = { candidate: "the candidate", shared: "a shared cause", undetermined: "nobody yet" } as const;

const STATE_MEANS: Readonly<Record<Incident["state"], string>> = {
  open: "Its recovery is still being verified.",
  recovered: "The stable version was then proven healthy, and what the incident had engaged was released.",
  unverified: "The recovery was not proven within its window; a proof that comes later still counts.",
  not_recovered: "The system did not recover by the rollback alone.",
  closed: "A person released what the incident had engaged, without a proof of recovery.",
};

function impactOf({ snapshot }: ReportFacts): string {
  if (!snapshot) return "_Not kept._";
  const { traffic, stages } = snapshot.observed;
  const runs = tableOf(
    ["Version", "Runs", "With an outcome", "Without one in time", "Failed"],
    traffic.map((each) => [
      each.version,
      String(each.assigned),
      String(each.settled),
      String(each.missing),
      String(each.failures),
    ]),
  );
  const byStage = tableOf(
    ["Stage", "Runs of the candidate", "Runs of stable"],
    stages.map(({ stage, candidate, stable }) => [
      stage ?? "before the server's last start",
      String(candidate),
      String(stable),
    ]),
  );
  return `${runs}\n\nTraffic by stage:\n\n${byStage}`;
}

function durations({ incident, timings }: ReportFacts): string {
  const rows: [string, number | null | undefined, string][] = [
    ["Detect", timings.detectMs, "from when the evidence began to rise to the outcome that completed it"],
    ["Decide", timings.decideMs, "from that outcome to the verdict"],
    ["Commit", timings.commitMs, "the transaction: weight, lock, kill switches, audit, incident, alerts"],
    ["Converge", incident.convergeMs, "from the commit until every runtime followed, or its lease was over"],
    ["Recover", incident.recoverMs, "from the commit until stable was proven healthy"],
  ];
  return tableOf(
    ["Phase", "Time", "What is measured"],
    rows.map(([phase, ms, what]) => [phase, ms === null || ms === undefined ? "not measured" : timeOf(ms), what]),
  );
}

function timeline({ incident, audit }: ReportFacts): string {
  const until = incident.settledAt;
  // Runtimes never saw what is the incident's own; the log says those in its words, the incident in its own.
  const rollouts = audit
    .filter((event) => event.incident !== incident.id && (until === undefined || event.timestamp <= until))
    .map(({ timestamp, actor, summary, reason }) => ({
      at: timestamp,
      by: actor.name,
      text: reason ? `${summary} Reason: ${reason}` : summary,
    }));
  const notes = incident.notes.map((note) => ({ ...note, text: `Note: ${note.text}` }));
  const rows = [...rollouts, ...incident.timeline, ...notes].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return tableOf(
    ["Time", "By", "What"],
    rows.map(({ at, by, text }) => [at.slice(0, 23).replace("T", " "), by, text]),
  );
}

function changesOf({ incident, snapshot }: ReportFacts): string {
  if (!snapshot) return "_Not kept._";
  const versions = tableOf(
    ["", "Version", "Kind", "Digest", "Registered", "By", "Notes"],
    (["target", "candidate"] as const).map((side) => {
      const { id, kind, digest, createdAt, createdBy, notes } = snapshot[side];
      return [side, id, kind, digest.slice(0, 12), moment(createdAt), createdBy, notes];
    }),
  );
  const changes = snapshot.payloadDiff.map(changeText).join("\n\n");
  return `${versions}\n\nFrom \`${incident.target}\` to \`${incident.candidate}\`:\n\n${changes || "_The payloads are alike._"}`;
}

function whyOf(incident: Incident): string {
  const table = evidenceTable(incident.evidence, incident);
  if (incident.evidence.length === 0) return table;
  return `${table}\n\n"log e" is the natural logarithm of the evidence that the limit is broken, and "needed" is with how much of it this guardrail alone would stop the candidate; together they may stop it a little earlier. Negative means that the runs speak for the candidate.`;
}

function evidenceTable(evidence: readonly GuardrailEvidence[], { attribution, reason }: Incident): string {
  if (evidence.length === 0) {
    if (attribution !== undefined) return "No outcome of the candidate came in time.";
    return `${reason === "manual" ? "A person" : "A signal"} decided; see the timeline.`;
  }
  return tableOf(
    ["Guardrail", "Bad", "Of", "Rate", "Allowed", "log e", "Needed"],
    evidence.map((each) => [
      each.guardrail,
      numberOf(each.k),
      String(each.n),
      percentOf(each.rate),
      percentOf(each.p0),
      each.logE.toFixed(2),
      (each.neededLogE ?? each.threshold).toFixed(2),
    ]),
  );
}

function affected({ snapshot }: ReportFacts): string {
  if (!snapshot) return "_Not kept._";
  const { runtimes, errors, tools, lastOutcomes } = snapshot.observed;
  const named = (rows: readonly { readonly name: string; readonly n: number }[]) =>
    tableOf(
      ["What", "Failures"],
      rows.map(({ name, n }) => [name, String(n)]),
    );
  return [
    "The candidate's runs by runtime:",
    tableOf(
      ["Runtime", "Runs", "Bad"],
      runtimes.map(({ runtime, runs, bad }) => [
        runtime.slice(0, SHORT_ID),
        String(runs),
        Object.entries(bad)
          .map(([guardrail, n]) => `${guardrail} ${numberOf(n)}`)
          .join(", "),
      ]),
    ),
    "Its failures by origin and type:",
    named(errors),
    "By tool, where the runtime said which:",
    named(tools),
    "Its last outcomes:",
    lastOutcomes.length > 0 ? outcomeTable(lastOutcomes) : "_Not kept._",
  ].join("\n\n");
}

/** Digits of a runtime's or a run's id that tell it from others. */
const SHORT_ID = 12;

function outcomeTable(outcomes: readonly unknown[]): string {
  return tableOf(
    ["Ended", "Run", "Status", "Took", "Error", "Tool calls, failed"],
    outcomes.map((outcome) => {
      const { runId, status, durationMs, errorType, errorOrigin, toolCalls, toolErrors, endedAt } = (outcome ??
        {}) as Partial<Outcome>;
      return [
        endedAt?.slice(11, 23) ?? "",
        runId?.slice(0, SHORT_ID) ?? "",
        status ?? "",
        durationMs === undefined ? "" : timeOf(durationMs),
        [errorOrigin, errorType].filter(Boolean).join(": "),
        toolCalls === undefined ? "" : `${toolCalls}, ${toolErrors ?? 0}`,
      ];
    }),
  );
}

/** Without the root cause, which has a place of its own. */
function notesOf({ notes, rootCause }: Incident): Incident["notes"] {
  return notes.filter(({ at, text }) => at !== rootCause?.at || text !== rootCause.text);
}

function recoveryOf({ incident, recovery }: ReportFacts): string {
  const proofs = tableOf(
    ["Guardrail", "Runs", "Bad", "log e", "Proven kept"],
    recovery.guardrails.map(({ guardrail, n, k, logE, isHealthy }) => [
      guardrail,
      String(n),
      numberOf(k),
      logE === null ? "no statistic" : `${logE.toFixed(2)} of 3.00`,
      isHealthy ? "yes" : "no",
    ]),
  );
  const runs = `${countOf(recovery.runs, "run")} of \`${incident.target}\` began since the rollback and ended.`;
  const means = recovery.guardrails.length > 0 ? '\n\nAt a "log e" of 3.00 the limit counts as kept.' : "";
  return `State: \`${incident.state}\`. ${runs}\n\n${proofs}${means}`;
}

function sources({ incident, snapshot }: ReportFacts): string {
  const lines = [
    `Decision \`${incident.decisionId}\`; judge it again with \`flagback audit --decision ${incident.decisionId}\`.`,
    `All of it as JSON: \`flagback incident report ${incident.id} --json\`.`,
    ...(snapshot ? [`Policy \`${snapshot.policyHash.slice(0, 12)}\`, as it was frozen when the rollout started:`] : []),
  ];
  const policy = snapshot ? `\n\n${fenced(JSON.stringify(snapshot.policy, null, 2), "json")}` : "";
  return lines.join("\n\n") + policy;
}

function quoted({ at, by, text }: { readonly at: string; readonly by: string; readonly text: string }): string {
  const lines = text.split("\n").map((line) => `> ${inline(line)}`);
  return [...lines, ">", `> ${inline(by)}, ${moment(at)} UTC`].join("\n");
}

function countOf(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

function numberOf(n: number): string {
  return Number(n.toFixed(3)).toString();
}

function percentOf(rate: number): string {
  return `${Number((rate * 100).toFixed(2))} %`;
}

function moment(timestamp: string): string {
  return timestamp.slice(0, 19).replace("T", " ");
}

function timeOf(ms: number): string {
  if (ms >= 60_000) return `${(ms / 60_000).toFixed(1)} min`;
  return ms >= 1_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Number(ms.toFixed(1))} ms`;
}
