/** Configuration as code: the plan, and carrying it out. */
import type { ApplyAnswer } from "@flagback/schemas";
import * as z from "zod";
import { isAllowed } from "../../auth/tokens.ts";
import { desired, parseConfig } from "../../config/parse-config.ts";
import { optionsOf } from "../changes.ts";
import { type App, actorOf, type ServerContext } from "../context.ts";

export function applyRoute(app: App, context: ServerContext): void {
  app.post(
    "/v1/apply",
    {
      config: { access: "lead" },
      schema: { querystring: z.object({ dryRun: z.enum(["true", "false"]).default("false") }) },
    },
    async (request): Promise<ApplyAnswer> => {
      const { body } = request;
      const state = typeof body === "string" ? parseConfig(body) : desired(body ?? {});
      const mayChangeTriggers = isAllowed(request.token.role, "admin");
      const command = { kind: "apply", desired: state, mayChangeTriggers } as const;
      const { head } = context.engine.history;
      if (request.query.dryRun === "true") {
        const preview = context.engine.preview(command, actorOf(request.token));
        const plan = preview.kind === "change" ? preview.change.plan : preview.kind === "unchanged" ? preview.plan : [];
        return { applied: false, revision: head.revision, plan: [...(plan ?? [])] };
      }
      const executed = await context.engine.execute(command, actorOf(request.token), optionsOf(request));
      return { applied: executed.status === "done", revision: executed.revision, plan: [...(executed.plan ?? [])] };
    },
  );
}
