/**
 * Reads signals from outside in the words of who sends them. What they say beyond what is asked here is let pass, because it
 * is theirs to change; what is asked must be there.
 */
import { FlagbackError, few, type TriggerFormat } from "@flagback/schemas";
import * as z from "zod";
import { describeProblems } from "../config/problems.ts";

/** One alert. */
export interface Signal {
  /** False where it says that all is well again. */
  readonly isFiring: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** What happened, in a sentence of the sender's. */
  readonly text: string;
}

/** Alerts of one body. Alertmanager's own limit is its `max_alerts`. */
const MAX_ALERTS = 1_000;
/** Labels, or annotations, of one alert. */
const MAX_LABELS = 64;

const Labels = few(z.record(z.string(), z.string()), MAX_LABELS, "labels");
const FiringOrResolved = z.enum(["firing", "resolved"]);

/** Our own words. */
const Plain = z.looseObject({
  state: FiringOrResolved.default("firing"),
  reason: z.string().default(""),
  labels: Labels.default({}),
});

/** Prometheus Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration, webhook_config). */
const Alertmanager = z.looseObject({
  version: z.literal("4"),
  alerts: z
    .array(z.looseObject({ status: FiringOrResolved, labels: Labels, annotations: Labels.default({}) }))
    .min(1)
    .max(MAX_ALERTS),
});

/** `$ALERT_TRANSITION` (docs.datadoghq.com/integrations/webhooks): a warning or missing data are no breach. */
const DATADOG_FIRING: readonly string[] = ["Triggered", "Re-Triggered"];
const DATADOG_OTHER = ["Recovered", "Warn", "Re-Warn", "No Data", "Re-No Data", "Renotify", "Null"];

/** The payload that docs/operations/signals.md gives Datadog's webhook. */
const Datadog = z.looseObject({
  alert_transition: z.enum([...DATADOG_FIRING, ...DATADOG_OTHER]),
  /** `error`, `warning`, `success` or `info`: what a renotification is about. */
  alert_type: z.string().default(""),
  title: z.string().default(""),
  /** Such as `env:prod,service:support-agent`. */
  tags: z.string().default(""),
});

/** @throws FlagbackError `signal_invalid` that lists every problem */
export function readSignals(format: TriggerFormat, value: unknown): readonly Signal[] {
  switch (format) {
    case "plain": {
      const { state, reason, labels } = parsed(format, Plain, value);
      return [{ isFiring: state === "firing", labels, text: reason }];
    }
    case "alertmanager":
      return parsed(format, Alertmanager, value).alerts.map(({ status, labels, annotations }) => ({
        isFiring: status === "firing",
        labels,
        text: [labels.alertname, annotations.summary ?? annotations.description].filter(Boolean).join(": "),
      }));
    case "datadog": {
      const { alert_transition: transition, alert_type: type, title, tags } = parsed(format, Datadog, value);
      const isFiring = DATADOG_FIRING.includes(transition) || (transition === "Renotify" && type === "error");
      return [{ isFiring, labels: labelsOf(tags), text: title }];
    }
  }
}

function parsed<Schema extends z.ZodType>(format: TriggerFormat, schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = describeProblems(result.error.issues, schema).map((each) =>
    each.replace(/^the file: /, "the body: "),
  );
  throw new FlagbackError({
    code: "signal_invalid",
    message: `The body is no signal of format ${format}: ${problems.join("; ")}.`,
    hint: "docs/operations/signals.md shows each format; a trigger's format is in flagback trigger list.",
    problems,
  });
}

/** A tag without a colon has an empty value. */
function labelsOf(tags: string): Record<string, string> {
  const pairs = tags
    .split(",")
    .map((tag) => tag.trim())
    .filter((tag) => tag !== "")
    .map((tag) => {
      const colon = tag.indexOf(":");
      return colon < 0 ? [tag, ""] : [tag.slice(0, colon), tag.slice(colon + 1)];
    });
  return Object.fromEntries(pairs) as Record<string, string>;
}
