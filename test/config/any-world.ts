/**
 * Any documents that a server can have, made by the commands that make them: names, texts and numbers that YAML reads as
 * something else, allocations of many slots, rollouts under way and over.
 */
import { type Circumstances, type Command, transition, type World, worldAfter } from "@flagback/core";
import { FlagDefinition, type Json, Policy, type PolicyInput, TOTAL_WEIGHT, VersionKind } from "@flagback/schemas";
import fc from "fast-check";
import { digestOf } from "../../server/src/engine/canonical.ts";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

export const AT: Circumstances = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: "2026-01-02T03:04:05.678Z",
  digestOf,
  payloads: new JsonSchemaChecker(),
};

/** Does what of the commands can be done, one after the other. */
export function worldOf(commands: readonly Command[], before: World = EMPTY_WORLD): World {
  let world = before;
  for (const command of commands) {
    const result = transition(world, command, AT);
    if (result.kind === "change") world = worldAfter(world, result.change);
  }
  return world;
}

const AWKWARD = [
  ...[
    "no",
    "Yes",
    "on",
    "~",
    "null",
    "true",
    "1.0",
    "1e3",
    "0x1F",
    "0o17",
    "1_000",
    "12:30:45",
    ".5",
    "+1",
    ".inf",
    ".nan",
  ],
  ...["2026-01-31", "2026-01-31T10:00:00Z", "<<", "=", "", " ", " lead", "trail ", "# none", "a: b", "a #b", "- item"],
  ...[
    "*ref",
    "&anchor",
    "!tag",
    "!!binary aGk=",
    "%YAML 1.1",
    "@at",
    "`tick",
    "'",
    '"',
    "\\",
    "{a}",
    "[a]",
    "?",
    "? key",
  ],
  ...[
    "two\nlines",
    "ends\n",
    "\n",
    "\n\n\nfar",
    "  indented\nless",
    "a\n  b\n\n c\n\n",
    "x\n ",
    "\ttab",
    "a\tb",
    "win\r\nline",
  ],
  ...[
    "---\nprompt",
    "...\nend",
    "🚀 fly",
    "👩‍👩‍👧",
    "e\u0301",
    "\u2028",
    "\u2029",
    "\u0085",
    "\ufeffbom",
    "\u0000",
    "\u001b[31m",
    "\ud800",
  ],
  ...["a.b", "a.b.c", "constructor", "toString", "key with spaces", "x".repeat(1_100), "long words ".repeat(30)],
];

const text = fc.oneof(
  fc.constantFrom(...AWKWARD),
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom(" ", "\n", "\t", "#", ":", "-", "'", '"', "a", "|", ">", "\r", "é") }),
);
const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(1e3, 1e21, 5e-324, 0.1),
);
const key = text.filter((each) => each !== "__proto__");

const json: fc.Arbitrary<Json> = fc
  .letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.oneof(text, number, fc.boolean(), fc.constant(null)),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    ),
    // As a body's parser makes it: without -0.
  }))
  .value.map((value) => JSON.parse(JSON.stringify(value)) as Json);

/** Few, so that they meet; some that YAML would read as a number, a date or nothing. */
const NAMES = ["agent", "a.b", "A-1", "1e3", "1", "null", "true", "2026-01-31", "constructor", "0x1F"] as const;
const flagName = fc.constantFrom(...NAMES.map((name) => `f${name}`), "no", "2", "0.5");
const switchName = fc.constantFrom("writes_disabled", "refunds_disabled", "off", "12");

const policy: fc.Arbitrary<PolicyInput> = fc.record(
  {
    guardrails: fc.constantFrom(
      [{ metric: "error_rate", max: 0.05 }],
      [
        { metric: "latency_p95_ms", max: 1e3, mode: "approval" as const, share: 0.5 },
        { metric: "error_rate", relativeTo: "stable" as const, maxOddsRatio: 1.5 },
      ],
      [{ metric: "tool_failure_rate", max: 0.03, stages: { canary: { max: 0.01 } } }],
    ),
    alpha: fc.constantFrom(0.01, 1e-3),
    stages: fc.constant([
      { name: "canary", percent: 0.125, soak: "10m" },
      { name: "full", percent: 100 },
    ]),
    outcomeTimeout: fc.constantFrom("60s", "1d"),
    stickiness: fc.constantFrom("run", "conversation"),
    lockCandidate: fc.boolean(),
  },
  { requiredKeys: ["guardrails"] },
);

const versionsOf = (alias: string) => [1, 2, 3].map((n) => `${alias}@${n}.0`);

function aliasCommands(name: string): fc.Arbitrary<Command[]> {
  const ids = versionsOf(name);
  const id = fc.constantFrom(...ids);
  const registered = fc.record({ kind: fc.constantFrom(...VersionKind.options), payload: json, notes: text });
  const labels = fc.dictionary(
    key.map((each) => each.slice(0, 64)),
    text.map((each) => each.slice(0, 256)),
    { maxKeys: 3, noNullPrototype: true },
  );
  const split = fc.tuple(fc.nat(TOTAL_WEIGHT), fc.nat(TOTAL_WEIGHT)).map(([one, other]): Command => {
    const [low, high] = [Math.min(one, other), Math.max(one, other)];
    const weights = [low, high - low, TOTAL_WEIGHT - high];
    return { kind: "putAlias", name, allocation: ids.map((version, n) => ({ version, weight: weights[n] ?? 0 })) };
  });
  const act = fc.oneof(
    split,
    split,
    policy.map((given): Command => ({ kind: "putAlias", name, policy: Policy.parse(given) })),
    // One that any payload meets: what it says is another test's business.
    key.map((title): Command => ({ kind: "putAlias", name, payloadSchema: { title, default: 1e3 } })),
    text
      .filter((salt) => salt.length > 0 && salt.length <= 128)
      .map((salt): Command => ({ kind: "putAlias", name, salt })),
    id.map((candidate): Command => ({ kind: "startRollout", alias: name, candidate, reason: "" })),
    id.map((version): Command => ({ kind: "addCandidates", alias: name, versions: [version] })),
    id.map((version): Command => ({ kind: "retireVersion", id: version, reason: "old" })),
    fc.constant<Command>({ kind: "rollback", alias: name, reason: "bad" }),
  );
  return fc
    .tuple(
      fc.tuple(
        ...ids.map((each) => fc.tuple(registered, labels).map(([draft, of]) => ({ ...draft, labels: of, id: each }))),
      ),
      fc.option(id),
      fc.array(act, { maxLength: 6 }),
    )
    .map(([drafts, stable, acts]) => [
      { kind: "putAlias", name },
      ...drafts.map(
        (draft): Command => ({
          kind: "registerVersion",
          version: { ...draft, alias: name, notes: draft.notes.slice(0, 4_096) },
        }),
      ),
      ...(stable === null ? [] : [{ kind: "declareStable" as const, alias: name, version: stable, reason: "first" }]),
      ...acts,
    ]);
}

const flagCommand: fc.Arbitrary<Command> = fc
  .record({
    key: flagName,
    variants: fc.dictionary(key, json, { minKeys: 1, maxKeys: 3, noNullPrototype: true }),
    state: fc.constantFrom("ENABLED" as const, "DISABLED" as const),
    targeting: fc.option(fc.dictionary(key, json, { maxKeys: 2, noNullPrototype: true }), { nil: undefined }),
    metadata: fc.option(
      fc.dictionary(
        key,
        fc.oneof(
          text,
          number.map((n) => n + 0),
          fc.boolean(),
        ),
        { maxKeys: 2, noNullPrototype: true },
      ),
      {
        nil: undefined,
      },
    ),
    hasDefault: fc.boolean(),
  })
  .map(({ key: name, variants, hasDefault, ...rest }): Command => {
    const defaultVariant = hasDefault ? Object.keys(variants)[0] : null;
    const definition: unknown = JSON.parse(JSON.stringify({ ...rest, variants, defaultVariant }));
    return { kind: "putFlag", key: name, definition: FlagDefinition.parse(definition) };
  });

const switchCommand = fc
  .record({ key: switchName, engage: fc.boolean(), afterMs: fc.nat(86_400_000) })
  .map(({ key: name, ...failSafe }): Command => ({ kind: "putKillSwitch", key: name, failSafe }));

const label = key.map((each) => each.slice(0, 64)).filter((each) => each !== "");
const triggerCommand = fc
  .record({
    id: fc.constantFrom(...NAMES),
    format: fc.constantFrom("plain" as const, "datadog" as const),
    action: fc.oneof(
      fc.constantFrom(...NAMES).map((alias) => ({ kind: "pause" as const, alias })),
      fc.constant({ kind: "engage" as const, key: "writes_disabled", scope: "agent=a" }),
    ),
    labels: fc.dictionary(label, label, { maxKeys: 2, noNullPrototype: true }),
  })
  .map(({ id, ...definition }): Command => ({ kind: "putTrigger", id, definition }));

/** Commands that make a world. Some are refused, which makes nothing. */
export const anyWorld: fc.Arbitrary<World> = fc
  .tuple(
    fc.array(switchCommand, { maxLength: 3 }),
    fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 3 }).chain((names) => fc.tuple(...names.map(aliasCommands))),
    fc.array(flagCommand, { maxLength: 4 }),
    fc.array(triggerCommand, { maxLength: 3 }),
  )
  .map(([switches, aliases, flags, triggers]) =>
    worldOf([
      { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } },
      ...switches,
      ...aliases.flat(),
      ...flags,
      ...triggers,
    ]),
  );
