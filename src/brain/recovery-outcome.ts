/**
 * What an outcome says about recovery. While writes are disabled, every run of an agent that writes has a blocked one, and
 * would say nothing about its version: the agent could never prove that it may write again (DESIGN 7). So here such runs
 * count by what the block does not change.
 */
import type { Outcome } from "@flagback/schemas";

/**
 * The outcome as recovery judges it. A run with blocked writes counts by its model, provider, tool and agent errors, its
 * latency and its safety flags; a failure that names no origin counts too, because it may be any of them. The blocked call
 * itself is no error. Its quality, cost and own numbers are left out: what it did is what the kill switch made of it.
 */
export function asRecoveryOutcome(outcome: Outcome): Outcome {
  const { blockedWrites: _blocked, quality: _quality, costUsd: _cost, metrics: _metrics, ...rest } = outcome;
  if (outcome.status !== "blocked" && (outcome.blockedWrites ?? 0) === 0) return outcome;
  if (outcome.errorOrigin !== "policy" && outcome.status !== "blocked") return rest;
  const { errorOrigin, ...unblamed } = rest;
  const isOwnError = errorOrigin !== undefined && errorOrigin !== "policy" && errorOrigin !== "client";
  return { ...unblamed, status: isOwnError ? "failure" : "success" };
}
