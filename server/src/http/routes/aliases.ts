/** Aliases and their rollouts. */
import { explain, PEOPLES_COMMANDS, weightOf } from "@flagback/core";
import {
  AdvanceBody,
  type Alias,
  DeclareStableBody,
  FlagbackError,
  LockBody,
  Name,
  PutAliasBody,
  ReasonBody,
  RollForwardBody,
  StartRolloutBody,
  UnlockBody,
} from "@flagback/schemas";
import * as z from "zod";
import { gateFacts } from "../../evaluator/gate-facts.ts";
import { resultOf } from "../../evaluator/rollout-result.ts";
import { ChangeQuery, change, withETag } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";
import { DrillsQuery, listed } from "../drills-query.ts";
import { doctorAnswer } from "./doctor.ts";
import { gateAnswer } from "./gate.ts";

const ByName = z.object({ name: z.string() });

/** Longest that a request for a rollout's end is held; who still waits then asks again. */
const MAX_SETTLE_WAIT_MS = 30_000;
const StatusQuery = z.object({
  /** Answer once the rollout is promoted or rolled back, or after `timeoutMs`. */
  wait: z.literal("settled").optional(),
  timeoutMs: z.coerce.number().int().min(0).max(MAX_SETTLE_WAIT_MS).default(MAX_SETTLE_WAIT_MS),
  /** The number of the rollout that is meant; default the last one. */
  rollout: z.coerce.number().int().min(1).optional(),
});

export function aliasRoutes(app: App, context: ServerContext): void {
  app.get("/v1/aliases", { config: { access: "viewer" }, schema: { querystring: DrillsQuery } }, (request) => ({
    aliases: listed(context.engine.world.aliases.values(), ({ name }) => name, request.query),
  }));

  app.get("/v1/aliases/:name", { config: { access: "viewer" }, schema: { params: ByName } }, async (request, reply) => {
    const alias = withETag(reply, findAlias(context, request.params.name));
    return { ...alias, feedback: await context.store.feedbackSummaries(alias.name) };
  });

  app.put(
    "/v1/aliases/:name",
    {
      config: { access: "lead" },
      schema: { params: z.object({ name: Name }), body: PutAliasBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "putAlias", name: request.params.name, ...request.body }),
  );

  app.post(
    "/v1/aliases/:name/declare-stable",
    {
      config: { access: PEOPLES_COMMANDS.declareStable.role },
      schema: { params: ByName, body: DeclareStableBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "declareStable", alias: request.params.name, ...request.body }),
  );

  app.post(
    "/v1/aliases/:name/rollout",
    {
      config: { access: PEOPLES_COMMANDS.startRollout.role },
      schema: { params: ByName, body: StartRolloutBody, querystring: ChangeQuery },
    },
    (request) =>
      change(context, request, {
        kind: "startRollout",
        alias: request.params.name,
        ...request.body,
        drills: context.drills.passes,
      }),
  );

  app.get(
    "/v1/aliases/:name/rollout",
    { config: { access: "viewer" }, schema: { params: ByName, querystring: StatusQuery } },
    async (request) => {
      const { wait, timeoutMs } = request.query;
      const { name } = request.params;
      if (wait === undefined) return rolloutStatus(context, findAlias(context, name));
      const rolloutNumber = request.query.rollout ?? currentRollout(findAlias(context, name)).rolloutNumber;
      const result = () => resultOf(context.engine.world, { alias: name, rolloutNumber });
      if (result() === null && timeoutMs > 0) {
        const look = (wake: () => void) => () => {
          if (result() !== null) wake();
        };
        await context.held.hold(request, timeoutMs, (wake) => context.auditSignal.listen(look(wake)));
      }
      // A token that was revoked since learns nothing more.
      context.tokens.assertLive(request.token);
      const status = await rolloutStatus(context, findAlias(context, name));
      return { ...status, waitedFor: { rolloutNumber, result: result() } };
    },
  );

  app.get("/v1/aliases/:name/gate", { config: { access: "viewer" }, schema: { params: ByName } }, (request) =>
    gateAnswer(context, findAlias(context, request.params.name)),
  );

  app.get("/v1/aliases/:name/doctor", { config: { access: "viewer" }, schema: { params: ByName } }, (request) =>
    doctorAnswer(context, findAlias(context, request.params.name), request.token),
  );

  app.post(
    "/v1/aliases/:name/rollback",
    {
      config: { access: PEOPLES_COMMANDS.rollback.role },
      schema: { params: ByName, body: ReasonBody, querystring: ChangeQuery },
    },
    (request) =>
      change(context, request, { kind: "rollback", alias: request.params.name, reason: request.body.reason }),
  );

  app.post(
    "/v1/aliases/:name/advance",
    {
      config: { access: PEOPLES_COMMANDS.advanceRollout.role },
      schema: { params: ByName, body: AdvanceBody, querystring: ChangeQuery },
    },
    (request) => {
      const alias = findAlias(context, request.params.name);
      const ledger = context.book.ledgerOf({ alias: alias.name, rolloutNumber: alias.rolloutNumber });
      return change(context, request, {
        kind: "advanceRollout",
        alias: alias.name,
        ...gateFacts(ledger, context.drills.passes),
        ...request.body,
      });
    },
  );

  app.post(
    "/v1/aliases/:name/roll-forward",
    {
      config: { access: PEOPLES_COMMANDS.rollForward.role },
      schema: { params: ByName, body: RollForwardBody, querystring: ChangeQuery },
    },
    (request) =>
      change(context, request, {
        kind: "rollForward",
        alias: request.params.name,
        ...request.body,
        drills: context.drills.passes,
      }),
  );

  app.post(
    "/v1/aliases/:name/pause",
    {
      config: { access: PEOPLES_COMMANDS.pauseRollout.role },
      schema: { params: ByName, body: ReasonBody, querystring: ChangeQuery },
    },
    (request) =>
      change(context, request, { kind: "pauseRollout", alias: request.params.name, reason: request.body.reason }),
  );

  app.post(
    "/v1/aliases/:name/resume",
    {
      config: { access: PEOPLES_COMMANDS.resumeRollout.role },
      schema: { params: ByName, body: ReasonBody, querystring: ChangeQuery },
    },
    (request) =>
      change(context, request, { kind: "resumeRollout", alias: request.params.name, reason: request.body.reason }),
  );

  app.post(
    "/v1/aliases/:name/promote",
    {
      config: { access: PEOPLES_COMMANDS.promote.role },
      schema: { params: ByName, body: ReasonBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "promote", alias: request.params.name, reason: request.body.reason }),
  );

  app.post(
    "/v1/aliases/:name/lock",
    {
      config: { access: PEOPLES_COMMANDS.lock.role },
      schema: { params: ByName, body: LockBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "lock", alias: request.params.name, ...request.body }),
  );

  app.post(
    "/v1/aliases/:name/unlock",
    {
      config: { access: PEOPLES_COMMANDS.unlock.role },
      schema: { params: ByName, body: UnlockBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "unlock", alias: request.params.name, ...request.body }),
  );
}

function findAlias(context: ServerContext, name: string): Alias {
  const alias = context.engine.world.aliases.get(name);
  if (alias) return alias;
  throw new FlagbackError({
    code: "alias_not_found",
    message: `There is no alias ${name}.`,
    hint: "List them with flagback get aliases.",
  });
}

function currentRollout({ name, rollout }: Alias): NonNullable<Alias["rollout"]> {
  if (rollout) return rollout;
  throw new FlagbackError({
    code: "rollout_not_active",
    message: `${name} has had no rollout.`,
    hint: `Start one with flagback rollout start ${name}.`,
  });
}

/** How the alias's last rollout stands: weight, evidence, traffic and what was said of its versions. */
async function rolloutStatus(context: ServerContext, alias: Alias) {
  const rollout = currentRollout(alias);
  const verdict = context.evaluator.standingOf(alias.name)?.verdict;
  const versions = [...new Set([rollout.target, rollout.candidate])];
  const feedback = await context.store.feedbackSummaries(alias.name);
  return {
    alias: alias.name,
    state: rollout.state,
    stage: rollout.stage,
    candidate: rollout.candidate,
    target: rollout.target,
    weight: weightOf(alias.allocation, rollout.candidate),
    rolloutNumber: rollout.rolloutNumber,
    hold: rollout.hold ?? null,
    openDecision: rollout.openDecision ?? null,
    decisionId: rollout.decisionId ?? null,
    verdict: verdict?.kind ?? null,
    explanation: verdict ? explain(verdict, rollout.candidate) : null,
    leading: verdict?.leading ?? null,
    /** Runtimes that carry much of the evidence, and the one that alone keeps it from being enough. */
    carriers: verdict?.carriers ?? [],
    heldBackBy: (verdict?.kind === "allow" && verdict.heldBackBy) || null,
    exclusions: verdict?.exclusions ?? [],
    exposure: verdict?.exposure ?? null,
    evidence: verdict?.guardrails ?? [],
    logE: verdict?.logE ?? null,
    peakLogE: verdict?.peakLogE ?? null,
    threshold: verdict?.threshold ?? null,
    traffic: versions.map((version) => ({
      version,
      ...context.book.totalsOf({ alias: alias.name, version, rolloutNumber: rollout.rolloutNumber }),
    })),
    /** Of all rollouts, by version. */
    feedback,
    /** Checks of this rollout, which are in none of the numbers above. */
    synthetic: context.synthetic.of(alias.name),
  };
}
