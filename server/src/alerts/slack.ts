/**
 * An alert as a message for Slack's incoming webhooks: `text` for notifications, blocks for the channel
 * (docs.slack.dev, "Sending messages using incoming webhooks" and "Section block").
 */
import type { Fact } from "./fact.ts";

/** Characters of a section's text, once it is escaped. */
const MAX_SECTION_LENGTH = 3_000;

const SIGN: Readonly<Record<Fact["kind"], string>> = {
  rollback: ":rewind:",
  stop: ":octagonal_sign:",
  hold: ":raised_hand:",
  approval: ":question:",
  rejected: ":arrow_forward:",
  continued: ":arrow_forward:",
  bypass: ":warning:",
  recovered: ":white_check_mark:",
  unverified: ":grey_question:",
  not_recovered: ":rotating_light:",
  acknowledged: ":eyes:",
  closed: ":checkered_flag:",
  test: ":wave:",
};

export function slackMessage(fact: Fact): object {
  const { kind, alias, incident } = fact;
  const text = escaped(fact.text, MAX_SECTION_LENGTH - SIGN[kind].length - 1);
  const about = [
    ...(alias === undefined ? [] : [`alias \`${alias}\``]),
    ...(incident === undefined ? [] : [`incident \`${incident}\``]),
  ];
  const context = { type: "context", elements: [{ type: "mrkdwn", text: about.join(" · ") }] };
  return {
    text,
    blocks: [
      { type: "section", text: { type: "mrkdwn", text: `${SIGN[kind]} ${text}` } },
      ...(about.length > 0 ? [context] : []),
    ],
  };
}

/** `&`, `<` and `>` are Slack's control characters: `<!channel>` would call everybody. No character is cut in half. */
function escaped(text: string, maxLength: number): string {
  let written = "";
  for (const character of text) {
    const next = character === "&" ? "&amp;" : character === "<" ? "&lt;" : character === ">" ? "&gt;" : character;
    if (written.length + next.length > maxLength - 1) return `${written}…`;
    written += next;
  }
  return written;
}
