/**
 * Alerts as they are kept until each webhook took them.
 */
import type { Alert } from "@flagback/core";

/** No alert is planned to be tried again later than this. */
export const MAX_ALERT_RETRY_MS = 60_000;
/** How long an alert that is not taken is tried again, from when it was raised or asked for again. */
export const RETRY_ALERTS_FOR_MS = 86_400_000;

/** `problem` is null for one that arrived, and `deliveredAt` for one that did not. */
export interface LastDelivery {
  readonly problem: string | null;
  readonly deliveredAt: string | null;
}

/** An alert as it is kept, or one that was asked for to see whether it arrives. */
export interface OutboxAlert extends Omit<Alert, "kind"> {
  readonly kind: Alert["kind"] | "test";
  /** A rehearsal raised it. */
  readonly drill?: true;
  /** The trace of its change, for the delivery and not for the webhook's receiver to read. */
  readonly trace?: Readonly<Record<string, string>>;
}

export interface OutboxRow {
  readonly id: number;
  readonly body: OutboxAlert;
  readonly createdAt: string;
  readonly attempts: number;
  /** Until when it is worth trying, in milliseconds since 1970. */
  readonly retryUntilMs: number;
}

export type DeliveryState = "waiting" | "delivered" | "dead";

/** How far an alert has come on its way to one webhook. */
export interface Delivery {
  readonly id: number;
  readonly kind: OutboxAlert["kind"];
  readonly text: string;
  readonly alias?: string;
  readonly incident?: string;
  readonly createdAt: string;
  readonly state: DeliveryState;
  readonly attempts: number;
  /** What the last failed attempt met. */
  readonly problem: string | null;
  readonly deliveredAt: string | null;
}

export interface DeliveryQuery {
  readonly webhookId: string;
  readonly state?: DeliveryState;
  readonly limit: number;
}
