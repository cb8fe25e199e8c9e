/** `flagback token`: who may talk to the server. */
import { Role } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { CreatedToken } from "../api-answers.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions } from "../remote-command.ts";
import { moment, table } from "../text.ts";

interface CreateOptions extends RemoteOptions {
  readonly role: Role;
  readonly name: string;
  readonly alias?: string[];
  readonly trigger?: string;
}

export function addToken(program: Command, io: Io): void {
  const token = program.command("token").summary("create, list and revoke tokens");

  const create = token
    .command("create")
    .summary("create a token and show its secret, this once")
    .addOption(new Option("--role <role>", "what it may do").choices(Role.options).makeOptionMandatory())
    .requiredOption("--name <name>", "whose it is; the audit log shows it")
    .option("--alias <name>", "runtime tokens: an alias it may see (repeat for several; default all)", collect)
    .option("--trigger <id>", "trigger tokens: the trigger that it fires");
  addRemoteOptions(create).action(async (options: CreateOptions) => {
    const { api, answer } = invoke(io, options);
    const { role, name, alias, trigger } = options;
    const created = await api.createToken({ role, name, trigger, ...(alias && { aliases: alias }) });
    answer(created, () => createdText(created));
  });

  const list = token.command("list").summary("show the tokens, without their secrets");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const tokens = await api.tokens();
    answer({ tokens }, () =>
      table(
        ["ID", "ROLE", "NAME", "FOR", "CREATED (UTC)", "REVOKED (UTC)"],
        tokens.map((each) => [
          each.id,
          each.role,
          each.name,
          each.trigger ?? (each.aliases.join(",") || "all"),
          moment(each.createdAt),
          each.revokedAt ? moment(each.revokedAt) : "",
        ]),
        "No tokens.",
      ),
    );
  });

  const revoke = token.command("revoke").summary("end a token; its sockets close within a second").argument("<id>");
  addRemoteOptions(revoke).action(async (id: string, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const revoked = await api.revokeToken(id);
    answer(revoked, () => `Revoked ${revoked.token.id} (${revoked.token.name}).`);
  });
}

function createdText({ token, secret, signingSecret }: CreatedToken): string {
  const last = `This is the only time that it is shown. Revoke it with ${token.id}.`;
  if (signingSecret === undefined) return `${secret}\n${last}`;
  return `${secret}\n${signingSecret}\nThe first is a bearer token; signals may be signed with the second instead. ${last}`;
}
