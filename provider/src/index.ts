/** The OpenFeature provider of flagback and its agent toolkit. */

export type { Clock } from "./clock.ts";
export * from "./keys.ts";
export type { ProviderLogger } from "./logger.ts";
export type { FlagbackProviderOptions } from "./options.ts";
export type { Announcement, Assignment } from "./outcomes/assignments.ts";
export type { FeedbackResult } from "./outcomes/feedback-sender.ts";
export type { DropReason, OutboxStatistics } from "./outcomes/outbox.ts";
export { OUTCOME_EVENT, type OutcomeDetails } from "./outcomes/outcome.ts";
export { FlagbackProvider } from "./provider.ts";
export type { KeptVersion, OpenRun, RunHost, RunProvider } from "./run-host.ts";
export * from "./toolkit/index.ts";
