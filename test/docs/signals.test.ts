import { readFileSync } from "node:fs";
import { TriggerDefinition } from "@flagback/schemas";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { PAGERDUTY_EVENTS } from "../../server/src/alerts/pagerduty.ts";
import { parseConfig } from "../../server/src/config/parse-config.ts";
import { readSignals } from "../../server/src/triggers/signals.ts";

const page = readFileSync(new URL("../../docs/operations/signals.md", import.meta.url), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, text = ""]) => text);

test("the table of alerts has each kind, with what PagerDuty is told", () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| [^|]+ \| (trigger|acknowledge|resolve)(?:, `(\w+)`)? \|$/gm)];
  const documented = Object.fromEntries(rows.map(([, kind, action, severity]) => [kind, [action, severity]]));
  const { test: _asked, ...raised } = PAGERDUTY_EVENTS;
  const told = Object.entries(raised).map(([kind, event]) => [
    kind,
    [event.action, event.action === "trigger" ? event.severity : undefined],
  ]);
  expect(documented).toEqual(Object.fromEntries(told));
});

test("the file of triggers can be applied as it stands", () => {
  const [file = ""] = blocks("yaml");
  const { triggers } = parseConfig(file);
  expect([...triggers.keys()]).toEqual(["error-budget", "checkout-down"]);
  for (const trigger of triggers.values()) expect(TriggerDefinition.parse(trigger)).toEqual(trigger);
});

test("the payload for Datadog says what a trigger reads, with each variable of Datadog's put in", () => {
  const [payload = ""] = blocks("json");
  const values: Record<string, string> = {
    $ALERT_TRANSITION: "Triggered",
    $ALERT_TYPE: "error",
    $EVENT_TITLE: "[Triggered] Runs fail",
    $TAGS: "env:prod",
  };
  const sent = payload.replace(/\$[A-Z_]+/g, (name) => values[name] ?? "not documented");
  expect(readSignals("datadog", JSON.parse(sent))).toEqual([
    { isFiring: true, labels: { env: "prod" }, text: "[Triggered] Runs fail" },
  ]);
});

test("each YAML of the page is YAML", () => {
  expect(blocks("yaml").map((text) => typeof parse(text))).toEqual(blocks("yaml").map(() => "object"));
  expect(blocks("yaml").length).toBeGreaterThan(2);
});
