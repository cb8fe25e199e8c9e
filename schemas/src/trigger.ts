/**
 * What a monitoring system outside may do (DESIGN 7).
 */
import * as z from "zod";
import { Edit } from "./documents.ts";
import { StopReason } from "./incident.ts";
import { MAX_ATTRIBUTES, MAX_SHORT_TEXT_LENGTH } from "./limits.ts";
import { Name, Scope } from "./primitives.ts";

/** Whose words a signal is in: our own, Prometheus Alertmanager's, or those of the payload that Datadog is given. */
export const TriggerFormat = z.enum(["plain", "alertmanager", "datadog"]);
export type TriggerFormat = z.infer<typeof TriggerFormat>;

/** What a firing signal does; each of it is done once, however often the signal repeats. */
export const TriggerAction = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("rollback"),
    alias: Name,
    /** What the incident gives as its reason. */
    reason: StopReason.exclude(["manual"]).default("rollback_required"),
  }),
  z.strictObject({ kind: z.literal("engage"), key: Name, scope: Scope.default("*") }),
  z.strictObject({ kind: z.literal("pause"), alias: Name }),
]);
export type TriggerAction = z.infer<typeof TriggerAction>;

/** A trigger as people write it. */
export const TriggerDefinition = z.strictObject({
  format: TriggerFormat.default("plain"),
  action: TriggerAction,
  /** Labels that an alert must have, all of them; others do nothing. */
  labels: z
    .record(z.string().min(1).max(MAX_SHORT_TEXT_LENGTH), z.string().max(MAX_SHORT_TEXT_LENGTH))
    .refine((labels) => Object.keys(labels).length <= MAX_ATTRIBUTES, `at most ${MAX_ATTRIBUTES} labels`)
    .default({}),
});
export type TriggerDefinition = z.infer<typeof TriggerDefinition>;

/** What a monitoring system outside may do, by firing it. */
export const Trigger = z.strictObject({ id: Name, ...TriggerDefinition.shape, edit: Edit });
export type Trigger = z.infer<typeof Trigger>;
