/** What triggers make of foreign bodies: examples as the vendors document them, and whatever else may come. */
import { type FlagbackError, type Trigger, TriggerDefinition } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commandOf, readingOf } from "../../server/src/triggers/reading.ts";
import { readSignals } from "../../server/src/triggers/signals.ts";

/** Alertmanager's webhook, version 4: prometheus.io/docs/alerting/latest/configuration, webhook_config. */
const ALERTMANAGER = {
  version: "4",
  groupKey: '{}/{severity="critical"}:{alertname="ErrorRateHigh"}',
  truncatedAlerts: 0,
  status: "firing",
  receiver: "flagback",
  groupLabels: { alertname: "ErrorRateHigh" },
  commonLabels: { alertname: "ErrorRateHigh", severity: "critical" },
  commonAnnotations: {},
  externalURL: "http://alertmanager.example:9093",
  alerts: [
    {
      status: "resolved",
      labels: { alertname: "ErrorRateHigh", severity: "critical", agent: "billing-agent" },
      annotations: { summary: "5 % of the runs fail" },
      startsAt: "2026-01-02T03:00:00.000Z",
      endsAt: "2026-01-02T03:04:00.000Z",
      generatorURL: "http://prometheus.example/graph",
      fingerprint: "1a30ba71cca2921f",
    },
    {
      status: "firing",
      labels: { alertname: "ErrorRateHigh", severity: "critical", agent: "support-agent" },
      annotations: { summary: "9 % of the runs fail" },
      startsAt: "2026-01-02T03:04:05.000Z",
      endsAt: "0001-01-01T00:00:00Z",
      generatorURL: "http://prometheus.example/graph",
      fingerprint: "9c31c4a1ab21e0d0",
    },
  ],
};

/** The payload of docs/operations/signals.md, with what Datadog puts in for its variables. */
const DATADOG = {
  id: "7712345678901234567",
  alert_id: "1234",
  alert_transition: "Triggered",
  alert_type: "error",
  title: "[Triggered on {service:support-agent}] Runs fail",
  tags: "env:prod,service:support-agent,monitor",
};

const reading = (definition: Partial<Trigger>, body: unknown) => {
  const trigger = { id: "t", ...TriggerDefinition.parse({ action: { kind: "pause", alias: "a" }, ...definition }) };
  return readingOf(trigger, readSignals(trigger.format, body));
};

describe("Alertmanager's body", () => {
  test("acts where one of its alerts fires with all of the labels, and names that one", () => {
    const labels = { severity: "critical", agent: "support-agent" };
    expect(reading({ format: "alertmanager", labels }, ALERTMANAGER)).toEqual({
      kind: "act",
      reason: "trigger:t: ErrorRateHigh: 9 % of the runs fail",
    });
  });

  test("does nothing where what fires has other labels, or what has them is resolved", () => {
    const others: Record<string, string>[] = [
      { agent: "billing-agent" },
      { agent: "support-agent", severity: "warning" },
      { team: "x" },
    ];
    for (const labels of others) {
      expect(reading({ format: "alertmanager", labels }, ALERTMANAGER)).toMatchObject({ kind: "ignore" });
    }
  });

  test("does nothing where everything is resolved", () => {
    const alerts = ALERTMANAGER.alerts.map((alert) => ({ ...alert, status: "resolved" }));
    expect(reading({ format: "alertmanager" }, { ...ALERTMANAGER, status: "resolved", alerts })).toMatchObject({
      kind: "ignore",
      because: expect.stringContaining("releases nothing"),
    });
  });

  test("is refused in one sentence where it has more alerts than 1 000, or one of them more labels than 64", () => {
    const alert = { status: "firing", labels: { alertname: "Down" } };
    const problems = (alerts: unknown[]): unknown => {
      try {
        return readSignals("alertmanager", { version: "4", alerts }).length;
      } catch (error) {
        return (error as FlagbackError).problems;
      }
    };
    const labels = (length: number, value: unknown) =>
      Object.fromEntries(Array.from({ length }, (_, i) => [`label${i}`, value]));
    expect(problems(Array(1_000).fill(alert))).toBe(1_000);
    // 87 000 of them fit into a body, and each would lack two things.
    expect(problems(Array(1_001).fill({}))).toEqual([expect.stringMatching(/^alerts: .*<=1000 items/)]);
    expect(problems([{ ...alert, labels: labels(64, "x") }])).toBe(1);
    expect(problems([{ ...alert, labels: labels(65, 1) }])).toEqual(["alerts[0].labels: at most 64 labels"]);
    expect(problems([{ ...alert, annotations: labels(65, 1) }])).toEqual(["alerts[0].annotations: at most 64 labels"]);
  });

  test("is taken with an alert that has no annotations, as older ones send it", () => {
    const alerts = [{ status: "firing", labels: { alertname: "Down" } }];
    expect(reading({ format: "alertmanager" }, { version: "4", alerts })).toEqual({
      kind: "act",
      reason: "trigger:t: Down",
    });
  });
});

describe("Datadog's body", () => {
  test.each([
    ["Triggered", "error", "act"],
    ["Re-Triggered", "error", "act"],
    ["Renotify", "error", "act"],
    ["Renotify", "warning", "ignore"],
    ["Recovered", "success", "ignore"],
    ["Warn", "warning", "ignore"],
    ["Re-Warn", "warning", "ignore"],
    ["No Data", "error", "ignore"],
    ["Re-No Data", "error", "ignore"],
    ["Null", "info", "ignore"],
  ])("that says %s (%s) leads to %s", (transition, type, kind) => {
    expect(reading({ format: "datadog" }, { ...DATADOG, alert_transition: transition, alert_type: type }).kind).toBe(
      kind,
    );
  });

  test("has its tags as labels", () => {
    const act = { kind: "act", reason: "trigger:t: [Triggered on {service:support-agent}] Runs fail" };
    expect(reading({ format: "datadog", labels: { env: "prod", monitor: "" } }, DATADOG)).toEqual(act);
    expect(reading({ format: "datadog", labels: { env: "staging" } }, DATADOG).kind).toBe("ignore");
  });

  test("whose variables were not put in is refused, with what is known", () => {
    const body = { ...DATADOG, alert_transition: "$ALERT_TRANSITION" };
    expect(() => readSignals("datadog", body)).toThrow(/alert_transition.*"Triggered"/);
  });
});

describe("a plain body", () => {
  test.each([
    [{}, { kind: "act", reason: "trigger:t" }],
    [
      { reason: "checkout fails", more: { to: "come" } },
      { kind: "act", reason: "trigger:t: checkout fails" },
    ],
    [
      { state: "resolved" },
      { kind: "ignore", because: "Nothing fires: t says that all is well, and releases nothing." },
    ],
  ])("%j is read", (body, expected) => {
    expect(reading({}, body)).toEqual(expected);
  });

  test("acts by its labels, and never by a property of the language's own", () => {
    expect(reading({ labels: { env: "prod" } }, { labels: { env: "prod", zone: "a" } }).kind).toBe("act");
    expect(reading({ labels: { toString: "x" } }, { labels: {} }).kind).toBe("ignore");
  });

  test("of any length becomes a reason on one short line", () => {
    const said = reading({}, { reason: `one\n  two${"🤖".repeat(1_000)}` });
    expect(said).toMatchObject({ kind: "act", reason: expect.stringMatching(/^trigger:t: one two🤖+…$/u) });
    expect([...(said.kind === "act" ? said.reason : "")].length).toBeLessThan(600);
  });
});

test.each([
  ["alertmanager", { ...ALERTMANAGER, version: "5" }, /version/],
  ["alertmanager", { version: "4", alerts: [] }, /alerts/],
  ["alertmanager", { version: "4", alerts: [{ status: "on", labels: {} }] }, /alerts\[0\]\.status/],
  ["alertmanager", DATADOG, /version.*alerts/],
  ["datadog", { title: "[Triggered] x", body: "the default payload" }, /alert_transition/],
  ["plain", { state: "on fire" }, /state/],
  ["plain", [], /the body/],
  ["plain", null, /the body/],
] as const)("a body that is no %s is refused, and the message says where: %j", (format, body, says) => {
  expect(() => readSignals(format, body)).toThrow(says);
});

test("whatever comes is read or refused as a signal, and nothing else happens", () => {
  const near = fc.oneof(
    fc.jsonValue(),
    fc.record({ version: fc.constantFrom("4", 4), alerts: fc.array(fc.jsonValue()) }, { requiredKeys: [] }),
    fc.record(
      {
        version: fc.constant("4"),
        alerts: fc.array(
          fc.record(
            {
              status: fc.constantFrom("firing", "resolved", "x"),
              labels: fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer())),
              annotations: fc.jsonValue(),
            },
            { requiredKeys: [] },
          ),
        ),
      },
      { requiredKeys: [] },
    ),
    fc.record({ alert_transition: fc.constantFrom("Triggered", "Warn", 1), tags: fc.string(), title: fc.string() }),
    fc.record({ state: fc.constantFrom("firing", "resolved", ""), reason: fc.string(), labels: fc.jsonValue() }),
  );
  fc.assert(
    fc.property(fc.constantFrom("plain", "alertmanager", "datadog"), near, (format, body) => {
      try {
        for (const { labels, text } of readSignals(format as Trigger["format"], body)) {
          expect(typeof text).toBe("string");
          expect(Object.values(labels).every((value) => typeof value === "string")).toBe(true);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: "signal_invalid", hint: expect.any(String) });
      }
    }),
    { numRuns: 500 },
  );
});

test.each([
  [
    { kind: "rollback", alias: "a", reason: "sla_breach" },
    { kind: "rollback", alias: "a", reason: "r", signalled: "sla_breach" },
  ],
  [
    { kind: "engage", key: "k", scope: "agent=a" },
    { kind: "engage", key: "k", scope: "agent=a", reason: "r", entryId: expect.any(String) },
  ],
  [
    { kind: "pause", alias: "a" },
    { kind: "pauseRollout", alias: "a", reason: "r" },
  ],
] as const)("the action %j is one command", (action, command) => {
  expect(commandOf({ action }, "r")).toEqual(command);
});
