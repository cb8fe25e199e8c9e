/**
 * An agent in a process of its own, because whose certificates are trusted is told to a process when it starts. It says what
 * happens to it as JSON, a line each, and ends when it is READY.
 */
import { FlagbackProvider } from "@flagback/provider";
import { OpenFeature, ProviderEvents } from "@openfeature/server-sdk";

const [url = "", token = ""] = process.argv.slice(2);
const say = (what: object) => console.log(JSON.stringify(what));
const logger = { warn: (warned: string) => say({ warned }), error: (error: string) => say({ error }) };
const provider = new FlagbackProvider({ url, token, logger, random: () => 0, initTimeoutMs: 200 });
const client = OpenFeature.getClient();
const context = { targetingKey: "u" };
const ready = new Promise((resolve) => provider.events.addHandler(ProviderEvents.Ready, resolve));

// A pending promise keeps no process alive.
const alive = setInterval(() => undefined, 1_000);
await OpenFeature.setProviderAndWait(provider).catch(({ code }) => say({ rejected: code }));
const { value, errorCode } = await client.getStringDetails("support-agent", "mine", context);
say({ defaults: [value, errorCode] });
await ready;
say({ ready: await client.getStringValue("support-agent", "mine", context) });
clearInterval(alive);
await OpenFeature.close();
