/** `flagback webhook`: where alerts go, and whether they arrive. */
import { WebhookFormat } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { CreatedWebhook, DeliveryAnswer } from "../api-answers.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions, wholeNumber } from "../remote-command.ts";
import { EXIT } from "../report-error.ts";
import { count, moment, table } from "../text.ts";

interface AddOptions extends RemoteOptions {
  readonly name?: string;
  readonly format?: WebhookFormat;
  readonly routingKey?: string;
}

interface DeliveriesOptions extends RemoteOptions {
  readonly dead?: boolean;
  readonly limit?: number;
}

export function addWebhook(program: Command, io: Io, setStatus: (status: number) => void): void {
  const webhook = program.command("webhook").summary("say where alerts go, and see whether they arrive");

  const add = webhook
    .command("add")
    .summary("send alerts to this address")
    .argument("[address]", "http or https; may be left out for pagerduty")
    .option("--name <name>", "what to call it; made up where it is left out")
    .addOption(new Option("--format <format>", "what it understands (default standard)").choices(WebhookFormat.options))
    .option("--routing-key <key>", "pagerduty: the integration key (or FLAGBACK_ROUTING_KEY)");
  addRemoteOptions(add).action(async (url: string | undefined, options: AddOptions) => {
    const { api, answer } = invoke(io, options);
    const { name, format, routingKey = format === "pagerduty" ? io.env.FLAGBACK_ROUTING_KEY : undefined } = options;
    const added = await api.addWebhook({ url, name, format, routingKey });
    answer(added, () => addedText(added));
  });

  const list = webhook.command("list").summary("show where alerts go; of addresses, scheme and host");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const webhooks = await api.webhooks();
    answer({ webhooks }, () =>
      table(
        ["ID", "FORMAT", "HOST", "CREATED (UTC)"],
        webhooks.map((each) => [each.id, each.format, each.url, moment(each.createdAt)]),
        "No webhooks.",
      ),
    );
  });

  const test = webhook
    .command("test")
    .summary("send a test alert now; status 1 where it is not taken")
    .argument("<id>");
  addRemoteOptions(test).action(async (id: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const tested = await api.testWebhook(id);
    answer(tested, () => (tested.delivered ? `${id} took it.` : `${id} did not take it: ${tested.problem}.`));
    if (!tested.delivered) setStatus(EXIT.refused);
  });

  const deliveries = webhook
    .command("deliveries")
    .summary("show what became of the alerts, newest first")
    .argument("<id>")
    .option("--dead", "only what was given up")
    .option("--limit <n>", "how many, at most 1000 (default 100)", wholeNumber(1, 1_000));
  addRemoteOptions(deliveries).action(async (id: string, { dead, limit, ...options }: DeliveriesOptions) => {
    const { api, answer } = invoke(io, options);
    const rows = await api.deliveries(id, { limit, ...(dead && { state: "dead" }) });
    answer({ deliveries: rows }, () => deliveriesTable(rows));
  });

  const redeliver = webhook
    .command("redeliver")
    .summary("send what was given up once more, in its order")
    .argument("<id>")
    .argument("[delivery]", "only this one, such as flagback-12");
  addRemoteOptions(redeliver).action(async (id: string, delivery: string | undefined, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const again = await api.redeliver(id, delivery);
    answer(again, () => `${count(again.waiting, "alert is", "alerts are")} on the way again.`);
  });

  const rotate = webhook
    .command("rotate")
    .summary("sign with a new secret, and for a day with the old one too")
    .argument("<id>");
  addRemoteOptions(rotate).action(async (id: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const rotated = await api.rotateWebhook(id);
    answer(
      rotated,
      () => `${secretText(rotated.secret)}\nThe secret before signs as well until ${rotated.previousUntil}.`,
    );
  });

  const remove = webhook.command("remove").summary("send no more alerts there").argument("<id>");
  addRemoteOptions(remove).action(async (id: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const removed = await api.removeWebhook(id);
    answer(removed, () => `Removed ${removed.deleted}.`);
  });
}

function addedText({ webhook, secret }: CreatedWebhook): string {
  const said = `Alerts go to ${webhook.url} (${webhook.id}). Try it: flagback webhook test ${webhook.id}`;
  return secret === undefined ? said : `${said}\n${secretText(secret)}`;
}

function secretText(secret: string): string {
  return `${secret}\nAlerts are signed with this secret (standardwebhooks.com). This is the only time that it is shown.`;
}

function deliveriesTable(rows: readonly DeliveryAnswer[]): string {
  return table(
    ["ID", "RAISED (UTC)", "STATE", "ATTEMPTS", "ALERT", "LAST PROBLEM"],
    rows.map((row) => [row.id, moment(row.createdAt), row.state, String(row.attempts), row.text, row.problem ?? ""]),
    "No alerts.",
  );
}
