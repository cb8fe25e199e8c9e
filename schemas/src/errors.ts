/**
 * The one error class of flagback and its stable codes. Each code has a paragraph in `docs/errors.md`; a test checks that.
 */

/** Every code with the HTTP status that an API answers it with. */
export const ERROR_STATUS = {
  alias_not_found: 404,
  already_exists: 409,
  backup_invalid: 400,
  bad_request: 400,
  candidate_equals_stable: 409,
  data_folder_not_empty: 409,
  database_corrupt: 500,
  database_in_use: 500,
  database_newer: 500,
  database_unavailable: 503,
  decision_expired: 409,
  decision_not_found: 404,
  delivery_not_found: 404,
  decision_not_open: 409,
  drill_in_progress: 409,
  drill_not_found: 404,
  drill_not_running: 409,
  drill_required: 409,
  feedback_invalid: 400,
  flag_not_found: 404,
  flag_invalid: 400,
  forbidden: 403,
  gate_closed: 409,
  guardrail_unsupported: 400,
  idempotency_key_reused: 409,
  incident_not_found: 404,
  internal_error: 500,
  kill_switch_not_found: 404,
  link_invalid: 404,
  malformed_frame: 400,
  malformed_yaml: 400,
  no_lock: 409,
  no_stable_version: 409,
  not_found: 404,
  outcome_invalid: 400,
  overloaded: 503,
  payload_invalid: 400,
  payload_schema_invalid: 400,
  payload_too_large: 413,
  policy_invalid: 400,
  port_in_use: 500,
  release_not_found: 404,
  revision_conflict: 409,
  rollback_plan_missing: 409,
  rollout_in_progress: 409,
  rollout_not_active: 409,
  root_cause_missing: 409,
  signal_invalid: 400,
  stage_not_found: 404,
  still_needed: 409,
  tls_unusable: 500,
  token_not_found: 404,
  too_many_failures: 429,
  trigger_not_found: 404,
  unauthorized: 401,
  unknown_key: 400,
  unreachable: 503,
  usage: 400,
  version_digest_mismatch: 409,
  version_in_use: 409,
  version_locked: 409,
  version_not_found: 404,
  version_retired: 409,
  webhook_address_refused: 400,
  webhook_not_found: 404,
  weights_do_not_sum: 400,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** What went wrong and what to do about it, without being an exception. Core's refusals are this. */
export interface Refusal {
  readonly code: ErrorCode;
  /** What was wrong, with the values. One sentence. */
  readonly message: string;
  /** What the reader can do. One sentence. */
  readonly hint: string;
  /** Several problems at once, each a sentence, where there are several. */
  readonly problems?: readonly string[];
  /** Where the rollout stands that was commanded, such as `paused`. */
  readonly state?: string;
  /** What people can do from there. */
  readonly possible?: readonly Possibility[];
}

/** One thing that people can do where a rollout stands. */
export interface Possibility {
  readonly command: string;
  /** The least role that may. */
  readonly role: string;
  /** The state that it leads to, if it is granted. */
  readonly leadsTo: string;
  /** How, on the command line or by HTTP. */
  readonly how: string;
}

/** An error that a person or a program can act on. */
export class FlagbackError extends Error implements Refusal {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly problems?: readonly string[];
  readonly state?: string;
  readonly possible?: readonly Possibility[];

  constructor(refusal: Refusal, options?: { readonly cause?: unknown }) {
    super(refusal.message, options);
    this.name = "FlagbackError";
    this.code = refusal.code;
    this.hint = refusal.hint;
    if (refusal.problems) this.problems = refusal.problems;
    if (refusal.state !== undefined) this.state = refusal.state;
    if (refusal.possible) this.possible = refusal.possible;
  }

  /** The HTTP status that belongs to the code. */
  get status(): number {
    return ERROR_STATUS[this.code];
  }
}
