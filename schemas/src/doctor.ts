/**
 * What `flagback doctor` finds.
 */
import * as z from "zod";

export const DoctorCheck = z.object({
  check: z.enum([
    "rollback_target",
    "target_payload",
    "retention",
    "locks",
    "mechanism",
    "guardrails",
    "traffic",
    "outcomes",
    "kill_switches",
    "runtimes",
    "webhooks",
    "authority",
    "drill",
  ]),
  /** `fail`: a rollback would not work or nobody would know. `warn`: it would, with less than people may expect. */
  status: z.enum(["ok", "warn", "fail"]),
  /** What was found, in a clause with the values. */
  why: z.string(),
  /** Left out where nothing is to be done. */
  whatToDo: z.string().optional(),
});
export type DoctorCheck = z.infer<typeof DoctorCheck>;

export const DoctorAnswer = z.object({
  alias: z.string(),
  /** What a rollback returns to, and the version that it would be of. */
  target: z.string().nullable(),
  candidate: z.string().nullable(),
  /** The worst of the checks. */
  status: z.enum(["ok", "warn", "fail"]),
  checks: z.array(DoctorCheck),
});
export type DoctorAnswer = z.infer<typeof DoctorAnswer>;
