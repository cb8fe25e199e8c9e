/** `flagback export`: the whole configuration as YAML that applies as no change. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";

export function addExport(program: Command, io: Io): void {
  const command = program
    .command("export")
    .summary("print the whole configuration as YAML, as apply takes it")
    .description(
      "Prints versions, aliases with their policies, kill switches, flags and triggers. Applied to the same server it changes nothing;" +
        " on an empty one it makes them again. Locks, incidents, tokens and webhooks are no configuration.",
    )
    .option("-o, --output <file>", "write into this file instead");
  addRemoteOptions(command).action(async (options: RemoteOptions & { output?: string }) => {
    const { api, asJson } = invoke(io, options);
    const config = await api.config();
    const { printConfig } = await import("../../config/print-config.ts");
    const text = asJson ? `${JSON.stringify(config)}\n` : printConfig(config);
    if (options.output === undefined) io.stdout.write(text);
    else await io.write(options.output, text);
  });
}
