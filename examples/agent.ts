/**
 * An agent that asks flagback which version of itself to run, and whether it may write. Run it with:
 *
 *     flagback serve                                          # prints an admin token, once
 *     export FLAGBACK_TOKEN=fb_admin_...
 *     flagback apply -f policy.yaml --yes
 *     FLAGBACK_TOKEN=$(flagback token create --role runtime --name example --json | jq -r .secret) node agent.ts
 */
import { FlagbackProvider, guardTools, withRun } from "@flagback/provider";
import { OpenFeature } from "@openfeature/server-sdk";

const url = process.env.FLAGBACK_URL ?? "http://127.0.0.1:7780";
await OpenFeature.setProviderAndWait(new FlagbackProvider({ url, token: process.env.FLAGBACK_TOKEN ?? "" }));
const client = OpenFeature.getClient();

// Any tool with an `execute`. A write asks the kill switch right before it happens.
const tools = guardTools(
  {
    findOrder: { execute: async (id: string) => `order ${id}: one pair of shoes, delivered` },
    refund: { execute: async (id: string) => `order ${id} is refunded` },
  },
  { writes: ["refund"] },
);

const said = await withRun({ client, agent: "support-agent", userId: "customer-17" }, async (run) => {
  const version = await run.pin("support-agent", "support-agent@2.3.3"); // once per run, then kept
  const order = await tools.findOrder.execute("4711");
  const refund = await tools.refund.execute("4711"); // while writes are disabled: the reason why not, for the model to read
  run.report({ status: "success" }); // a throw would report a failure; tool calls are counted already
  return `${version} found ${order}; ${refund}`;
});
console.log(said);

await OpenFeature.close(); // sends what waits
