/** Whether a rollback of an alias would work, as its doctor finds. */
import { type DoctorFacts, doctor, PEOPLES_COMMANDS } from "@flagback/core";
import type { Alias, DoctorAnswer, Token } from "@flagback/schemas";
import { isAllowed } from "../../auth/tokens.ts";
import { digestOf } from "../../engine/canonical.ts";
import type { ServerContext } from "../context.ts";

export async function doctorAnswer(
  context: ServerContext,
  alias: Alias,
  { role }: Pick<Token, "role">,
): Promise<DoctorAnswer> {
  const { engine, book, hub, store } = context;
  const rollout = { alias: alias.name, rolloutNumber: alias.rolloutNumber };
  const deliveries = await Promise.all([...context.webhooks.keys()].map((id) => lastOf(store, id)));
  const facts: DoctorFacts = {
    drills: context.drills.passes,
    caller: { role, mayRollBack: isAllowed(role, PEOPLES_COMMANDS.rollback.role) },
    runtimes: hub.runtimesOf(alias.name),
    webhooks: deliveries,
    traffic: book.trafficOf(rollout),
  };
  const now = new Date(context.now()).toISOString();
  return doctor(engine.world, alias, facts, { now, digestOf, payloads: engine.payloads });
}

/** By the webhook's id, because an address may hold a secret. */
async function lastOf(store: ServerContext["store"], id: string): Promise<DoctorFacts["webhooks"][number]> {
  const last = await store.lastDelivery(id);
  return { id, last: last ? { problem: last.problem, at: last.deliveredAt } : null };
}
