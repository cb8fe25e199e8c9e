/**
 * What an alert tells, for whichever receiver.
 */
import type { OutboxAlert } from "../store/outbox.ts";

/** One thing that happened, for people. */
export interface Fact extends Omit<OutboxAlert, "trace"> {
  /** When it happened. */
  readonly timestamp: string;
  /** By which its one webhook's readers answer a decision. */
  readonly link?: string;
}
