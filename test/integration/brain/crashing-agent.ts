/**
 * An agent in a process of its own that begins runs of the candidate and never gets to report one. Its parent kills it.
 */
import { FlagbackProvider, withRun } from "@flagback/provider";
import { OpenFeature } from "@openfeature/server-sdk";

const [url = "", token = "", candidate = "", runs = "0"] = process.argv.slice(2);
const never = new Promise<never>(() => undefined);
// A pending promise keeps no process alive.
setInterval(() => undefined, 1_000);

await OpenFeature.setProviderAndWait(new FlagbackProvider({ url, token }));
const client = OpenFeature.getClient();
for (let run = 0; run < Number(runs); run++) {
  void withRun({ client, agent: "support-agent", runId: `crash-${run}` }, async (current) => {
    const version = await current.pin("support-agent", "none");
    if (version === candidate) await never;
  });
}
