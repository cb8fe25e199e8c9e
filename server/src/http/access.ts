/**
 * Who may call a route: each says so itself, and a request is checked before its body is read.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { FlagbackError, type Role } from "@flagback/schemas";
import type { FastifyRequest } from "fastify";
import { isAllowed } from "../auth/tokens.ts";
import { shortened } from "../config/problems.ts";
import type { StoredToken } from "../store/store.ts";
import type { App } from "./context.ts";

/**
 * A role; anybody; or the route's own check, which answers the token that the headers show, or nothing where the body has to say
 * who sends it.
 */
export type Access = Role | "anybody" | ((request: FastifyRequest) => Promise<StoredToken | undefined>);

/** What the door knows of a request before its body is read. */
export interface Guard {
  authenticate(request: IncomingMessage): StoredToken;
  expectBody(request: IncomingMessage, response: ServerResponse, token: StoredToken | undefined): void;
}

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    /** The caller's token; only on routes that a role may call. */
    token: StoredToken;
  }
}

export function guardRoutes(app: App, door: Guard): void {
  app.addHook("onRoute", (route) => {
    if (!route.config?.access) throw new Error(`the route ${route.method} ${route.url} says not who may call it`);
  });
  app.addHook("onRequest", async (request, reply) => {
    if (request.is404) throw nothingAt(request);
    door.expectBody(request.raw, reply.raw, await tokenOf(request, door));
  });
}

async function tokenOf(request: FastifyRequest, door: Guard): Promise<StoredToken | undefined> {
  const { access } = request.routeOptions.config;
  if (access === undefined || access === "anybody") return undefined;
  if (typeof access === "function") return access(request);
  request.token = door.authenticate(request.raw);
  if (isAllowed(request.token.role, access)) return request.token;
  throw forbidden(request.token.role, access, `${request.method} ${request.routeOptions.url}`);
}

function nothingAt({ method, url }: FastifyRequest): FlagbackError {
  return new FlagbackError({
    code: "not_found",
    message: `There is nothing at ${method} ${shortened(url.split("?")[0] ?? "")}.`,
    hint: "The API is described at /openapi.json.",
  });
}

/** A valid token whose role is not enough. */
export function forbidden(role: Role, needs: Role, what: string): FlagbackError {
  return new FlagbackError({
    code: "forbidden",
    message: `A token of role ${role} may not ${what}; it needs ${needs}.`,
    hint: `Use a token of role ${needs}; an admin creates one with flagback token create --role ${needs} --name NAME.`,
  });
}
