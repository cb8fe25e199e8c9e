/**
 * A close frame's reason, as RFC 6455 section 5.5 allows it: a control frame carries 125 bytes, two of them the code.
 */
const MAX_REASON_BYTES = 123;

const encoder = new TextEncoder();

/** As much of the text as fits, cut between characters. */
export function closeReason(text: string): string {
  return text.slice(0, encoder.encodeInto(text, new Uint8Array(MAX_REASON_BYTES)).read);
}
