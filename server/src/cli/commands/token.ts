/** `flagback token`: who may talk to the server. */
import { Role } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions } from "../remote-command.ts";
import { moment, table } from "../text.ts";

interface CreateOptions extends RemoteOptions {
  readonly role: Role;
  readonly name: string;
  readonly alias?: string[];
}

export function addToken(program: Command, io: Io): void {
  const token = program.command("token").summary("create, list and revoke tokens");

  const create = token
    .command("create")
    .summary("create a token and show its secret, this once")
    .addOption(new Option("--role <role>", "what it may do").choices(Role.options).makeOptionMandatory())
    .requiredOption("--name <name>", "whose it is; the audit log shows it")
    .option("--alias <name>", "runtime tokens: an alias it may see (repeat for several; default all)", collect);
  addRemoteOptions(create).action(async (options: CreateOptions) => {
    const { api, answer } = invoke(io, options);
    const { role, name, alias } = options;
    const created = await api.createToken({ role, name, ...(alias && { aliases: alias }) });
    answer(
      created,
      () => `${created.secret}\nThis is the only time that it is shown. Revoke it with ${created.token.id}.`,
    );
  });

  const list = token.command("list").summary("show the tokens, without their secrets");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const tokens = await api.tokens();
    answer({ tokens }, () =>
      table(
        ["ID", "ROLE", "NAME", "ALIASES", "CREATED (UTC)", "REVOKED (UTC)"],
        tokens.map((each) => [
          each.id,
          each.role,
          each.name,
          each.aliases.join(",") || "all",
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
