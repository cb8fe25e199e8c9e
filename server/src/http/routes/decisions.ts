/** Decisions that the brain leaves to people: what is asked, and their answers. */
import { PEOPLES_COMMANDS, possibilities, stateOf } from "@flagback/core";
import { type AskedDecision, AskedDecisionState, FlagbackError, ReasonBody, SHORT_ID_LENGTH } from "@flagback/schemas";
import * as z from "zod";
import { ChangeQuery, change } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";
import { DrillsQuery, listed } from "../drills-query.ts";

const ById = z.object({ id: z.string() });
const ListQuery = DrillsQuery.extend({ state: AskedDecisionState.optional(), alias: z.string().optional() });

export function decisionRoutes(app: App, context: ServerContext): void {
  app.get("/v1/decisions", { config: { access: "viewer" }, schema: { querystring: ListQuery } }, (request) => {
    const { state, alias } = request.query;
    const decisions = listed(context.engine.world.asked.values(), (asked) => asked.alias, request.query)
      .filter((asked) => (state ?? asked.state) === asked.state && (alias ?? asked.alias) === asked.alias)
      .sort((a, b) => (a.openedAt < b.openedAt ? 1 : -1));
    return { decisions: decisions.map(shown) };
  });

  app.get("/v1/decisions/:id", { config: { access: "viewer" }, schema: { params: ById } }, (request) => {
    const asked = findAsked(context, request.params.id);
    const alias = context.engine.world.aliases.get(asked.alias);
    const state = alias && stateOf(alias, new Date(context.now()).toISOString());
    return { ...shown(asked), possible: alias && state ? possibilities(alias, state) : [] };
  });

  for (const kind of ["approve", "reject"] as const) {
    app.post(
      `/v1/decisions/:id/${kind}`,
      {
        config: { access: PEOPLES_COMMANDS[kind].role },
        schema: { params: ById, body: ReasonBody, querystring: ChangeQuery },
      },
      (request) => {
        const { id, alias } = findAsked(context, request.params.id);
        return change(context, request, { kind, alias, decision: id, reason: request.body.reason });
      },
    );
  }
}

/**
 * By its id, or by the beginning of it that stands in the alert.
 * @throws FlagbackError `decision_not_found`
 */
function findAsked(context: Pick<ServerContext, "engine">, id: string): AskedDecision {
  const { asked, decisions } = context.engine.world;
  const found = asked.get(id);
  if (found) return found;
  const isShort = id.length >= SHORT_ID_LENGTH;
  const meant = isShort ? [...asked.values()].filter((each) => each.id.startsWith(id)) : [];
  if (meant[0] && meant.length === 1) return meant[0];
  const incident = decisions.get(id);
  throw new FlagbackError({
    code: "decision_not_found",
    message: incident ? `Nobody was asked for decision ${id}.` : `Nobody is or was asked for a decision ${id}.`,
    hint: incident
      ? `It was carried out at once: flagback incident report ${incident}.`
      : "List them with flagback decisions.",
  });
}

/** Without the judge's whole input, which is long. */
function shown({ input: _long, ...asked }: AskedDecision): Omit<AskedDecision, "input"> {
  return asked;
}
