/** What receivers are sent: shapes by hand from the vendors' documentation. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Fact } from "../../server/src/alerts/fact.ts";
import { payloadOf } from "../../server/src/alerts/payload.ts";
import { isSignedBy, newSecret, signedHeaders } from "../../server/src/auth/standard-webhooks.ts";

const ROLLBACK: Fact = {
  kind: "rollback",
  text: "Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=error_spike, stage=canary",
  alias: "support-agent",
  incident: "inc_0123456789ab",
  timestamp: "2026-01-02T03:04:05.678Z",
};
const ROUTING_KEY = "0123456789abcdef0123456789ABCDEF";
const standard = (fact: Fact) => payloadOf({ format: "standard" }, fact);
const slack = (fact: Fact) => payloadOf({ format: "slack" }, fact) as SlackMessage;
const pagerDuty = (fact: Fact) => payloadOf({ format: "pagerduty", routingKey: ROUTING_KEY }, fact) as PagerDutyEvent;

interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly { readonly type: string; readonly text?: { readonly text: string } }[];
}

interface PagerDutyEvent {
  readonly event_action: string;
  readonly dedup_key: string;
  readonly payload?: { readonly severity: string; readonly summary: string };
}

test("an alert of the format standard is the fact itself", () => {
  expect(standard(ROLLBACK)).toEqual(ROLLBACK);
});

describe("an alert for Slack", () => {
  test("has the text for notifications and blocks for the channel, with Slack's control characters escaped", () => {
    const text = "Rollback triggered support-agent@2.4.0 -&gt; 2.3.3, reason=error_spike, stage=canary";
    expect(slack(ROLLBACK)).toEqual({
      text,
      blocks: [
        { type: "section", text: { type: "mrkdwn", text: `:rewind: ${text}` } },
        {
          type: "context",
          elements: [{ type: "mrkdwn", text: "alias `support-agent` · incident `inc_0123456789ab`" }],
        },
      ],
    });
  });

  test("calls nobody, whatever a reason says", () => {
    const { text } = slack({ kind: "stop", text: "Stop: <!channel> & <@U1>", timestamp: "" });
    expect(text).toBe("Stop: &lt;!channel&gt; &amp; &lt;@U1&gt;");
  });

  // 3 000 characters: docs.slack.dev, section block.
  test("fits into a section however long the text is, and cuts no character in half", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 4_096, size: "max" }), (text) => {
        const [section] = slack({ ...ROLLBACK, text }).blocks;
        expect(section?.text?.text.length).toBeLessThanOrEqual(3_000);
        expect(section?.text?.text).not.toMatch(/&(?!amp;|lt;|gt;)/);
        expect(section?.text?.text).not.toMatch(/[\ud800-\udbff]…$/);
      }),
      { numRuns: 30 },
    );
  });
});

describe("an alert for PagerDuty", () => {
  test("opens an incident of its own under the id of ours", () => {
    expect(pagerDuty(ROLLBACK)).toEqual({
      routing_key: ROUTING_KEY,
      event_action: "trigger",
      dedup_key: "inc_0123456789ab",
      payload: {
        summary: ROLLBACK.text,
        source: "flagback",
        severity: "error",
        timestamp: "2026-01-02T03:04:05.678Z",
        class: "rollback",
        component: "support-agent",
        custom_details: { text: ROLLBACK.text, alias: "support-agent", incident: "inc_0123456789ab" },
      },
      client: "flagback",
    });
  });

  test.each([
    ["rollback", "trigger", "error"],
    ["unverified", "trigger", "warning"],
    ["not_recovered", "trigger", "critical"],
    ["acknowledged", "acknowledge", undefined],
    ["recovered", "resolve", undefined],
    ["closed", "resolve", undefined],
    ["hold", "trigger", "warning"],
    ["stop", "trigger", "critical"],
    ["bypass", "trigger", "info"],
    ["test", "trigger", "info"],
  ] as const)("says %s as %s %s", (kind, action, severity) => {
    const { event_action, payload } = pagerDuty({ ...ROLLBACK, kind });
    expect([event_action, payload?.severity]).toEqual([action, severity]);
  });

  test("that follows a rollback is about the same incident", () => {
    for (const kind of ["acknowledged", "unverified", "not_recovered", "recovered", "closed"] as const) {
      expect(pagerDuty({ ...ROLLBACK, kind }).dedup_key).toBe(pagerDuty(ROLLBACK).dedup_key);
    }
  });

  test("without an incident is one of its kind and alias", () => {
    const { incident: _none, ...fact } = ROLLBACK;
    expect(pagerDuty({ ...fact, kind: "hold" }).dedup_key).toBe("flagback:hold:support-agent");
    expect(pagerDuty({ kind: "stop", text: "", timestamp: "" }).dedup_key).toBe("flagback:stop");
  });

  // 1 024 characters: PagerDuty's Events API v2, payload.summary.
  test("has a summary that PagerDuty takes", () => {
    const { payload } = pagerDuty({ ...ROLLBACK, text: "🤖".repeat(2_000) });
    expect([...(payload?.summary ?? "")]).toHaveLength(1_024);
    expect(payload?.summary.endsWith("🤖…")).toBe(true);
  });
});

describe("a signature of Standard Webhooks", () => {
  // The specification's repository, libraries/javascript/src/webhook.test.ts.
  const message = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", atSeconds: 1_614_265_330, body: '{"test": 2432232314}' };
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

  test("is the one that the specification's libraries make", () => {
    expect(signedHeaders(message, [secret])).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": signature,
    });
  });

  test("is right among others, and wrong where one thing of the message differs", () => {
    expect(isSignedBy(message, signature, secret)).toBe(true);
    expect(isSignedBy(message, `v1,bm9wZQ== v2,x ${signature}`, secret)).toBe(true);
    for (const other of [{ id: "msg_x" }, { atSeconds: 1_614_265_331 }, { body: '{"test": 2432232315}' }]) {
      expect(isSignedBy({ ...message, ...other }, signature, secret)).toBe(false);
    }
    expect(isSignedBy(message, signature, newSecret())).toBe(false);
    for (const none of ["", " ", "v1,", "v1", signature.slice(0, -1), `${signature}x`, signature.toLowerCase()]) {
      expect(isSignedBy(message, none, secret)).toBe(false);
    }
  });

  test("comes once for each secret while a secret is changed", () => {
    const other = newSecret();
    const both = signedHeaders(message, [secret, other])["webhook-signature"] ?? "";
    expect(both.split(" ")).toHaveLength(2);
    expect([isSignedBy(message, both, secret), isSignedBy(message, both, other)]).toEqual([true, true]);
  });
});
