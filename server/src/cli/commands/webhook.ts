/** `flagback webhook`: where alerts go. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { moment, table } from "../text.ts";

export function addWebhook(program: Command, io: Io): void {
  const webhook = program.command("webhook").summary("add, list and remove the addresses that alerts go to");

  const add = webhook.command("add").summary("send alerts to this address").argument("<address>", "http or https");
  addRemoteOptions(add).action(async (address: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const added = await api.addWebhook(address);
    answer(added, () => `Alerts go to ${added.webhook.url} (${added.webhook.id}).`);
  });

  const list = webhook.command("list").summary("show the addresses");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const webhooks = await api.webhooks();
    answer({ webhooks }, () =>
      table(
        ["ID", "URL", "CREATED (UTC)"],
        webhooks.map((each) => [each.id, each.url, moment(each.createdAt)]),
        "No webhooks.",
      ),
    );
  });

  const remove = webhook.command("remove").summary("send no more alerts there").argument("<id>");
  addRemoteOptions(remove).action(async (id: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const removed = await api.removeWebhook(id);
    answer(removed, () => `Removed ${removed.deleted}.`);
  });
}
