/** `flagback trigger`: what monitoring outside may do. */
import { FlagbackError, type TriggerAction, TriggerFormat } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions } from "../remote-command.ts";
import { table } from "../text.ts";

interface SetOptions extends RemoteOptions {
  readonly format?: TriggerFormat;
  readonly rollback?: string;
  readonly reason?: "rollback_required" | "sla_breach" | "error_spike";
  readonly engage?: string;
  readonly scope?: string;
  readonly pause?: string;
  readonly label?: readonly string[];
}

export function addTrigger(program: Command, io: Io): void {
  const trigger = program.command("trigger").summary("say what monitoring outside may do by a signal");

  const set = trigger
    .command("set")
    .summary("create a trigger or change it: one of --rollback, --engage and --pause")
    .argument("<id>")
    .addOption(new Option("--format <format>", "whose words it reads (default plain)").choices(TriggerFormat.options))
    .option("--rollback <alias>", "roll the alias's candidate back")
    .addOption(
      new Option("--reason <reason>", "with --rollback: what the incident says (default rollback_required)").choices([
        "rollback_required",
        "sla_breach",
        "error_spike",
      ]),
    )
    .option("--engage <key>", "engage the kill switch")
    .option("--scope <scope>", "with --engage: for what, such as agent=NAME (default *)")
    .option("--pause <alias>", "pause the alias's rollout")
    .option("--label <name=value>", "a label that an alert must have (repeat for several)", collect);
  addRemoteOptions(set).action(async (id: string, options: SetOptions) => {
    const { api, answerChange } = invoke(io, options);
    const { format, label = [] } = options;
    answerChange(await api.putTrigger(id, { format, action: actionOf(options), labels: labelsOf(label) }));
  });

  const list = trigger.command("list").summary("show the triggers");
  addRemoteOptions(list).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const triggers = await api.triggers();
    answer({ triggers }, () =>
      table(
        ["ID", "FORMAT", "DOES", "LABELS"],
        triggers.map((each) => [each.id, each.format, deedOf(each.action), labelsText(each.labels)]),
        "No triggers.",
      ),
    );
  });

  const remove = trigger.command("remove").summary("take nothing for it any more").argument("<id>");
  addRemoteOptions(remove).action(async (id: string, options: RemoteOptions) => {
    const { api, answerChange } = invoke(io, options);
    answerChange(await api.removeTrigger(id));
  });
}

function actionOf({ rollback, reason, engage, scope, pause }: SetOptions) {
  const given = [rollback, engage, pause].filter((each) => each !== undefined);
  if (given.length === 1) {
    if (rollback !== undefined) return { kind: "rollback" as const, alias: rollback, reason };
    if (engage !== undefined) return { kind: "engage" as const, key: engage, scope };
    if (pause !== undefined) return { kind: "pause" as const, alias: pause };
  }
  throw new FlagbackError({
    code: "usage",
    message: "A trigger does one thing: --rollback ALIAS, --engage KEY or --pause ALIAS.",
    hint: "Make another trigger for each other thing.",
  });
}

function labelsOf(texts: readonly string[]): Record<string, string> {
  const pairs = texts.map((text) => {
    const equals = text.indexOf("=");
    if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)] as const;
    throw new FlagbackError({
      code: "usage",
      message: `--label ${text} has no name and value.`,
      hint: "Such as --label severity=critical.",
    });
  });
  return Object.fromEntries(pairs);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
}

function deedOf(action: TriggerAction): string {
  switch (action.kind) {
    case "rollback":
      return `roll back ${action.alias} (${action.reason})`;
    case "engage":
      return `engage ${action.key} for ${action.scope}`;
    case "pause":
      return `pause ${action.alias}`;
  }
}
