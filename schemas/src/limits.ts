/**
 * Limits that both ends of a boundary must agree on. Limits of one end only live with that end.
 */

/** Weights are integers in thousandths of a percent; an allocation's weights sum to this. */
export const TOTAL_WEIGHT = 100_000;
/** An allocation holds at most this many slots. */
export const MAX_SLOTS = 64;
/** Names of aliases, flags, kill switches and stages, in characters. */
export const MAX_NAME_LENGTH = 128;
/** Version ids, in characters. */
export const MAX_VERSION_ID_LENGTH = 256;
/** Reasons, notes and other free text written by people, in characters. */
export const MAX_TEXT_LENGTH = 4_096;
/** Files of one configuration. */
export const MAX_CONFIG_FILES = 1_000;
/** Prefixes of names that one configuration is limited to. */
export const MAX_CONFIG_PREFIXES = 64;
/** A version's payload as JSON, in bytes. */
export const MAX_PAYLOAD_BYTES = 256 * 1024;
/** An alias's payload schema as JSON, in bytes. */
export const MAX_PAYLOAD_SCHEMA_BYTES = 64 * 1024;
/** Objects and arrays inside one another in a payload or a flag; whoever walks deeper ones may run out of stack. */
export const MAX_JSON_DEPTH = 64;
/** One frame from a runtime, in bytes. A larger one closes the socket. */
export const MAX_RUNTIME_FRAME_BYTES = 1024 * 1024;
/** Items in one outcome batch. */
export const MAX_BATCH_ITEMS = 500;
/** Assignment groups in one outcome batch. */
export const MAX_BATCH_ASSIGNMENTS = 500;
/** Runs in one assignment group. */
export const MAX_GROUP_RUNS = 100_000;
/** Guardrails in one policy. */
export const MAX_GUARDRAILS = 32;
/** Synthetic checks that a policy may ask to fail before it rolls back. */
export const MAX_CHECKS_IN_A_ROW = 100;
/** Stages in one policy. */
export const MAX_STAGES = 16;
/** So many characters of a decision's id stand for it where people read or write it. */
export const SHORT_ID_LENGTH = 12;
/** The longest that a decision may wait for people: a week. */
export const MAX_APPROVAL_MS = 7 * 86_400_000;
/** Entries that hold one kill switch engaged at once. */
export const MAX_SWITCH_ENTRIES = 256;
/** Versions that conversations may finish on at once; beyond it the one that would go first goes. */
export const MAX_FINISHING = 16;
/** Versions of one alias that were stable and are remembered for it; beyond it the earliest is forgotten. */
export const MAX_PAST_STABLES = 32;
/** Aliases of one release, and of one coordinated rollback. */
export const MAX_RELEASE_ALIASES = 64;
/** Notes on one incident. */
export const MAX_INCIDENT_NOTES = 200;
/** Aliases that one runtime token is scoped to. */
export const MAX_TOKEN_ALIASES = 256;
/** Attributes of one outcome. */
export const MAX_ATTRIBUTES = 16;
/** Metrics of one outcome: twice as many as a policy may judge. */
export const MAX_METRICS = 64;
/** Names, ids and error types in an outcome, in characters. */
export const MAX_SHORT_TEXT_LENGTH = 128;
/** Keys of an outcome's attributes and metrics, and its trace id, in characters. */
export const MAX_KEY_LENGTH = 64;
/** Tool calls, tool errors and writes of one run. */
export const MAX_RUN_COUNT = 1_000_000;
/** A run's length in milliseconds: a day. */
export const MAX_RUN_MS = 86_400_000;
/** A run's cost in dollars. */
export const MAX_RUN_COST_USD = 1_000_000;
/** Steps of one drill: its checks, and every step of every fault. */
export const MAX_DRILL_STEPS = 128;
