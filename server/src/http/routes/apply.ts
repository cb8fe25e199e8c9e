/** Configuration as code: the plan, carrying it out, and the configuration that the server has. */
import { configOf, targetOf, unnamed } from "@flagback/core";
import { type ApplyAnswer, ApplyFilesBody, FlagbackError, MAX_CONFIG_PREFIXES } from "@flagback/schemas";
import * as z from "zod";
import { isAllowed } from "../../auth/tokens.ts";
import { type Configuration, configurationOfValue, readConfig } from "../../config/parse-config.ts";
import { planOf } from "../../engine/engine.ts";
import { planDigest } from "../../engine/plan-digest.ts";
import { optionsOf } from "../changes.ts";
import { type App, actorOf, type ServerContext } from "../context.ts";

const Flag = z.enum(["true", "false"]).default("false");
const Prefix = z.string().min(1);
const ApplyQuery = z.object({
  dryRun: Flag,
  /** Removes what the files answer for and do not name. */
  prune: Flag,
  /** The files answer only for names that begin with one of these. */
  prefix: z.union([Prefix.transform((prefix) => [prefix]), z.array(Prefix).max(MAX_CONFIG_PREFIXES)]).default([]),
});

export function applyRoute(app: App, context: ServerContext): void {
  const { engine } = context;

  app.post(
    "/v1/apply",
    { config: { access: "lead" }, schema: { querystring: ApplyQuery } },
    async (request, reply): Promise<ApplyAnswer> => {
      const { dryRun, prune, prefix } = request.query;
      const { desired, blocks } = configurationOf(request.body);
      const owned = { blocks, prefixes: prefix };
      const command = {
        kind: "apply",
        desired,
        mayChangeTriggers: isAllowed(request.token.role, "admin"),
        ...(prune === "true" ? { prune: owned } : {}),
      } as const;
      const rest = unnamed(engine.world, desired, owned).map(targetOf);
      if (dryRun === "true") {
        const plan = [...planOf(engine.preview(command, actorOf(request.token)))];
        const digest = planDigest(plan);
        reply.header("etag", `"${digest}"`);
        return { applied: false, revision: engine.history.head.revision, plan, planDigest: digest, unnamed: rest };
      }
      const options = optionsOf(request);
      if (typeof options.ifMatch === "number") throw noPlan(options.ifMatch);
      const executed = await engine.execute(command, actorOf(request.token), options);
      return {
        applied: executed.status === "done",
        revision: executed.revision,
        plan: [...(executed.plan ?? [])],
        unnamed: prune === "true" ? [] : rest,
      };
    },
  );

  app.get("/v1/config", { config: { access: "viewer" } }, () => configOf(engine.world));
}

function noPlan(edit: number): FlagbackError {
  return new FlagbackError({
    code: "bad_request",
    message: `If-Match is "${edit}", but a configuration is about many documents and has no edit.`,
    hint: "Send the ETag of a dry run, and exactly its plan is carried out, or nothing.",
  });
}

/** YAML as text, several files, or the configuration itself as JSON. */
function configurationOf(body: unknown): Configuration {
  if (typeof body === "string") return readConfig([{ text: body }]);
  const files = ApplyFilesBody.safeParse(body);
  return files.success ? readConfig(files.data.files) : configurationOfValue(body ?? {});
}
