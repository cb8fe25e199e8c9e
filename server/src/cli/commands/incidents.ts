/** `flagback incidents`: what was rolled back and why. */
import type { Incident } from "@flagback/schemas";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, invoke, type RemoteOptions } from "../remote-command.ts";
import { moment, table } from "../text.ts";

export function addIncidents(program: Command, io: Io): void {
  const command = program.command("incidents").summary("show the rollbacks and why they happened");
  addRemoteOptions(command).action(async (options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const incidents = await api.incidents();
    answer({ incidents }, () => incidentTable(incidents));
  });
}

export function incidentTable(incidents: readonly Incident[]): string {
  return table(
    ["ID", "STATE", "OPENED (UTC)", "FROM", "TO", "STAGE", "REASON"],
    incidents.map((incident) => [
      incident.id,
      incident.state,
      moment(incident.openedAt),
      incident.candidate,
      incident.target,
      incident.stage,
      incident.reason,
    ]),
    "No incidents.",
  );
}
