/** `flagback get`: the documents as the server has them. */
import { VERSION_KINDS } from "@flagback/core";
import { type Alias, type Flag, FlagbackError, type Release, type Version } from "@flagback/schemas";
import { Argument, type Command } from "commander";
import type { FeedbackRow } from "../api-answers.ts";
import type { Api } from "../api-client.ts";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { allocationText, moment, table } from "../text.ts";
import { incidentTable } from "./incidents.ts";
import { killSwitchTable } from "./kill.ts";

interface Kind {
  /** The list under its name, and as text for people. */
  list(api: Api): Promise<{ readonly value: object; readonly text: string }>;
  one(api: Api, name: string): Promise<object>;
}

const KINDS = {
  aliases: {
    async list(api) {
      const aliases = await api.aliases();
      return { value: { aliases }, text: aliasTable(aliases) };
    },
    one: (api, name) => api.alias(name),
  },
  versions: {
    async list(api) {
      const versions = await api.versions();
      return { value: { versions }, text: versionTable(versions) };
    },
    one: (api, name) => api.version(name),
  },
  "kill-switches": {
    async list(api) {
      const killSwitches = await api.killSwitches();
      return { value: { killSwitches }, text: killSwitchTable(killSwitches) };
    },
    async one(api, name) {
      const found = (await api.killSwitches()).find((each) => each.key === name);
      if (found) return found;
      throw new FlagbackError({
        code: "kill_switch_not_found",
        message: `There is no kill switch ${name}.`,
        hint: "flagback kill list shows those there are.",
      });
    },
  },
  flags: {
    async list(api) {
      const flags = await api.flags();
      return { value: { flags }, text: flagTable(flags) };
    },
    one: (api, name) => api.flag(name),
  },
  releases: {
    async list(api) {
      const releases = await api.releases();
      return { value: { releases }, text: releaseTable(releases) };
    },
    one: (api, name) => api.releaseNamed(name),
  },
  feedback: {
    async list(api) {
      const feedback = await api.feedback({});
      return { value: { feedback }, text: feedbackTable(feedback) };
    },
    /** By alias: what people want to read is what was said about it. */
    async one(api, name) {
      const [{ feedback: summaries }, latest] = await Promise.all([api.alias(name), api.feedback({ alias: name })]);
      return { summaries, latest };
    },
  },
  incidents: {
    async list(api) {
      const incidents = await api.incidents();
      return { value: { incidents }, text: incidentTable(incidents) };
    },
    one: (api, name) => api.incident(name),
  },
} satisfies Record<string, Kind>;

export function addGet(program: Command, io: Io): void {
  const command = program
    .command("get")
    .summary("show documents: a list, or one in full")
    .addArgument(new Argument("<kind>", "what to show").choices(Object.keys(KINDS)))
    .argument("[name]", "one document, in full; of feedback, an alias");
  addRemoteOptions(command).action(
    async (kind: keyof typeof KINDS, name: string | undefined, options: RemoteOptions) => {
      const { api, answer } = invoke(io, options);
      if (name === undefined) {
        const { value, text } = await KINDS[kind].list(api);
        answer(value, () => text);
        return;
      }
      const document = await KINDS[kind].one(api, name);
      const { stringify } = await import("yaml");
      answer(document, () => stringify(document).trimEnd());
    },
  );
}

function aliasTable(aliases: readonly Alias[]): string {
  return table(
    ["NAME", "STABLE", "ALLOCATION", "ROLLOUT", "LOCKED"],
    aliases.map((alias) => [
      alias.name,
      alias.stable ?? "none",
      allocationText(alias.allocation),
      alias.rollout ? `${alias.rollout.candidate} ${alias.rollout.state} (${alias.rollout.stage})` : "",
      alias.locks.map((lock) => lock.version).join(", "),
    ]),
    "No aliases.",
  );
}

function versionTable(versions: readonly Version[]): string {
  return table(
    ["ID", "ALIAS", "KIND", "ROLLBACK BY", "DIGEST", "CREATED (UTC)", "RETIRED (UTC)"],
    versions.map((version) => [
      version.id,
      version.alias,
      version.kind,
      VERSION_KINDS[version.kind].mechanism,
      version.digest.slice(0, 12),
      moment(version.createdAt),
      version.retiredAt ? moment(version.retiredAt) : "",
    ]),
    "No versions.",
  );
}

function flagTable(flags: readonly Flag[]): string {
  return table(
    ["KEY", "STATE", "DEFAULT", "VARIANTS"],
    flags.map(({ key, definition }) => [
      key,
      definition.state,
      definition.defaultVariant ?? "",
      Object.keys(definition.variants).join(", "),
    ]),
    "No flags.",
  );
}

function releaseTable(releases: readonly Release[]): string {
  return table(
    ["NAME", "VERSIONS", "NOTES"],
    releases.map(({ name, versions, notes }) => [
      name,
      Object.entries(versions)
        .map(([alias, version]) => `${alias}: ${version}`)
        .join(", "),
      notes,
    ]),
    "No releases.",
  );
}

function feedbackTable(feedback: readonly FeedbackRow[]): string {
  return table(
    ["RECEIVED (UTC)", "ALIAS", "VERSION", "RUN", "STATUS", "QUALITY"],
    feedback.map((each) => [
      moment(each.receivedAt),
      each.alias,
      each.version,
      each.runId,
      each.status ?? "",
      each.quality === undefined ? "" : String(each.quality),
    ]),
    "No feedback.",
  );
}
