/**
 * The pages behind a link in an alert: plain HTML without a script. Pure; whatever comes from outside is escaped.
 */
import { createHash } from "node:crypto";
import { type AskedDecision, type GuardrailEvidence, SHORT_ID_LENGTH } from "@flagback/schemas";

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de}
textarea{width:100%;min-height:5rem;font:inherit;box-sizing:border-box}label{display:block;margin:.5rem 0}
button{font:inherit;padding:.6rem 1.2rem;margin:.5rem .5rem 0 0;border:1px solid #6e7781;border-radius:.4rem;background:#f6f8fa}
button.stop{background:#b3261e;border-color:#b3261e;color:#fff}small{color:#57606a}`;

/** Nothing may be loaded, run or framed, and the form goes nowhere but back here. */
export function pagePolicy(): string {
  const style = createHash("sha256").update(STYLE).digest("base64");
  return `default-src 'none'; style-src 'sha256-${style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;
}

/** What is asked, with its evidence, and the form that answers. */
export function questionPage(asked: AskedDecision, role: string, maxReason: number): string {
  const { alias, candidate, target, stage, summary, deadline, atDeadline, engaged, evidence, id, round } = asked;
  const then = atDeadline === "rollback" ? `${candidate} is rolled back` : "the rollout goes on";
  const meanwhile = engaged.length > 0 ? `<p>While this waits, ${escaped(engaged.join(", "))} is engaged.</p>` : "";
  return page(
    `Roll back ${candidate}?`,
    `<p>${escaped(summary)}</p>
<p>The rollout of <b>${escaped(candidate)}</b> on ${escaped(alias)} is held at stage ${escaped(stage)}. A rollback returns all traffic to
<b>${escaped(target)}</b>. Without an answer by ${escaped(moment(deadline))} UTC, ${escaped(then)}.</p>
${meanwhile}${evidenceTable(evidence)}
<form method="post">
<label>Who you are, and why<textarea name="reason" required maxlength="${maxReason}"></textarea></label>
<button class="stop" name="answer" value="approve">Roll back</button>
<button name="answer" value="reject">Let it go on</button>
</form>
<p><small>Decision ${escaped(id.slice(0, SHORT_ID_LENGTH))}, round ${round}. This link stands for the role ${escaped(role)} and answers once. Opening it
decides nothing.</small></p>`,
  );
}

/** What became of an answer, or why there can be none. */
export function messagePage(title: string, text: string, hint = ""): string {
  return page(title, `<p>${escaped(text)}</p>${hint === "" ? "" : `\n<p>${escaped(hint)}</p>`}`);
}

function evidenceTable(evidence: readonly GuardrailEvidence[]): string {
  const rows = evidence.map(({ guardrail, n, k, rate, p0, kind }) => {
    const allowed = kind === "critical" ? "none" : kind === "budget" ? "the budget" : String(p0);
    return `<tr><td>${escaped(guardrail)}</td><td>${n}</td><td>${Number(k.toFixed(2))}</td><td>${rate.toFixed(4)}</td><td>${allowed}</td></tr>`;
  });
  return `<table><tr><th>Guardrail</th><th>Runs</th><th>Bad</th><th>Rate</th><th>Allowed</th></tr>${rows.join("")}</table>`;
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>${escaped(title)}</title><style>${STYLE}</style></head>
<body><h1>${escaped(title)}</h1>
${body}
</body></html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}

function moment(timestamp: string): string {
  return timestamp.slice(0, 16).replace("T", " ");
}
