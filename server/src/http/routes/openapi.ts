/** What the API is, for anybody: made once, so that all who ask are sent the same bytes. */
import type { App } from "../context.ts";

export function openApiRoute(app: App): void {
  let described: Buffer | undefined;
  app.get("/openapi.json", { config: { access: "anybody" }, schema: { hide: true } }, (_request, reply) => {
    described ??= Buffer.from(JSON.stringify(app.swagger()));
    return reply.type("application/json").send(described);
  });
}
