/**
 * Who may call a route: each says so itself, and a request is checked before its body is read.
 */

import type { IncomingMessage } from "node:http";
import { FlagbackError, type Role } from "@flagback/schemas";
import { isAllowed } from "../auth/tokens.ts";
import type { StoredToken } from "../store/store.ts";
import type { App } from "./context.ts";

/** A role, or anybody. */
export type Access = Role | "anybody";

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    /** The caller's token; only on routes that are not open to anybody. */
    token: StoredToken;
  }
}

/** `authenticate` answers a request's token, or throws what refuses it. */
export function guardRoutes(app: App, authenticate: (request: IncomingMessage) => StoredToken): void {
  app.addHook("onRoute", (route) => {
    if (!route.config?.access) throw new Error(`the route ${route.method} ${route.url} says not who may call it`);
  });
  app.addHook("onRequest", async (request) => {
    const { access } = request.routeOptions.config;
    // Without a route there is nothing to guard: the not-found handler answers.
    if (access === undefined || access === "anybody") return;
    request.token = authenticate(request.raw);
    if (!isAllowed(request.token.role, access)) {
      throw forbidden(request.token.role, access, `${request.method} ${request.routeOptions.url}`);
    }
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
