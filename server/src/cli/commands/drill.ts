/** `flagback drill`: rehearses a rollback of an alias; and the process that plays a runtime in it. */
import { type Drill, DrillFault, type DrillStep, FlagbackError, type StartDrillBody } from "@flagback/schemas";
import { type Command, Option } from "commander";
import type { Io } from "../io.ts";
import { addRemoteOptions, collect, invoke, type RemoteOptions } from "../remote-command.ts";
import { EXIT, reportError } from "../report-error.ts";
import { millis, moment, type Paint, painter, table } from "../text.ts";

interface DrillOptions extends RemoteOptions {
  readonly candidate?: string;
  readonly fault?: readonly DrillFault[];
  readonly all?: boolean;
  readonly operatorToken?: string;
  readonly report?: string;
  readonly schedule?: string;
}

export function addDrill(program: Command, io: Io, setStatus: (status: number) => void): void {
  const command = program
    .command("drill")
    .summary("rehearse a rollback on a shadow of an alias, and record what held")
    .description(
      "Gives a shadow of the alias its own policy, versions and webhooks, starts three runtime processes with the real provider,\n" +
        "breaks the candidate, and looks whether the rollback does what it should on each of them. Nobody else is touched. Exit\n" +
        "status 0 where every step passed, else 1.",
    )
    .argument("<alias>")
    .option("--candidate <version>", "may be left out, as for a rollout")
    .addOption(
      new Option("--fault <fault>", "what goes wrong (repeat for several; default errors)")
        .choices(DrillFault.options)
        .argParser(collect),
    )
    .option("--all", "every fault that the policy has a guardrail for")
    .option(
      "--operator-token <token>",
      "token of somebody on call, to see whether it may roll back (FLAGBACK_OPERATOR_TOKEN)",
    )
    .option("--report <file>", "write the report of the rehearsed incident, as Markdown")
    .option(
      "--schedule <cron>",
      'run by calendar, in UTC, until Ctrl-C: such as "0 9 1 * *" for each first of a month',
    );
  addRemoteOptions(command).action(async (alias: string, options: DrillOptions) => {
    const interrupted = io.untilInterrupted();
    const once = async (): Promise<number> => {
      const drill = await rehearse(io, alias, options, interrupted);
      return drill.state === "passed" ? EXIT.done : EXIT.refused;
    };
    if (options.schedule === undefined) return setStatus(await once());
    const { followCalendar } = await import("../../rehearsal/calendar.ts");
    const status = await followCalendar({
      pattern: options.schedule,
      signal: interrupted,
      say: (line) => io.stderr.write(`${line}\n`),
      work: () => once().catch((error) => reportError(error, io, options.json ?? false)),
    });
    setStatus(status);
  });

  program.command("drill-runtime", { hidden: true }).action(async () => {
    const { playDrillRuntime } = await import("../../rehearsal/runtime.ts");
    await playDrillRuntime();
  });
}

/** Runs one drill, telling each step as it ends, and answers with its record. */
async function rehearse(io: Io, alias: string, options: DrillOptions, signal: AbortSignal): Promise<Drill> {
  const { api, asJson, answer, connection } = invoke(io, options);
  const { runDrill } = await import("../../rehearsal/run-drill.ts");
  const sink = asJson ? io.stderr : io.stdout;
  const paint = painter(sink, io.env);
  const begunMs = performance.now();
  const drill = await runDrill(
    {
      ...connection,
      operatorToken: options.operatorToken ?? io.env.FLAGBACK_OPERATOR_TOKEN,
      signal,
      onLine: (line) => sink.write(`${line}\n`),
      onStep: (step) => sink.write(`${stepLine(step, paint)}\n`),
    },
    bodyOf(alias, options),
  );
  const [incident] = drill.incidents;
  if (options.report !== undefined && incident !== undefined) {
    await io.write(options.report, await api.incidentReport(incident));
  }
  answer(drill, () => `${verdictLine(drill, paint)} in ${millis(performance.now() - begunMs)}`);
  return drill;
}

function bodyOf(alias: string, { candidate, fault, all }: DrillOptions): StartDrillBody {
  if (all && fault !== undefined) {
    throw new FlagbackError({
      code: "usage",
      message: "Faults are either named or all.",
      hint: "Leave out --all, or each --fault.",
    });
  }
  return { alias, candidate, faults: all ? "all" : [...new Set<DrillFault>(fault ?? ["errors"])] };
}

/** One step on one line: what, whether, how long, why. */
function stepLine({ name, fault, result, why, ms }: DrillStep, paint: Paint): string {
  const mark = paint(result === "pass" ? "green" : "red", result);
  return `${mark}  ${(fault ?? "").padEnd(FAULT_WIDTH)}  ${name.padEnd(STEP_WIDTH)}  ${millis(ms).padStart(7)}  ${why}`;
}

const FAULT_WIDTH = Math.max(...DrillFault.options.map((fault) => fault.length));
const STEP_WIDTH = "stable_loads".length;

function verdictLine({ number, alias, state, steps, because, incidents }: Drill, paint: Paint): string {
  const failed = steps.filter(({ result }) => result === "fail");
  const about = incidents.length > 0 ? `, ${incidents.join(", ")}` : "";
  const what = `Drill ${number} of ${alias}`;
  if (state === "passed") return paint("green", `${what} passed: ${steps.length} steps${about}`);
  if (failed.length === 0) return paint("red", `${what} was abandoned: ${because ?? "not every step was done"}`);
  const named = failed.map(({ name, fault }) => (fault ? `${name} (${fault})` : name)).join(", ");
  return paint(
    "red",
    `${what} failed at ${named}${because === undefined ? "" : `, and was abandoned: ${because}`}${about}`,
  );
}

/** `flagback drills`: the records. */
export function addDrills(program: Command, io: Io): void {
  const command = program.command("drills").summary("show the drills of an alias, or of all").argument("[alias]");
  addRemoteOptions(command).action(async (alias: string | undefined, options: RemoteOptions) => {
    const { api, answer } = invoke(io, options);
    const drills = await api.drills(alias);
    answer({ drills }, () =>
      table(
        ["DRILL", "ALIAS", "STATE", "STARTED (UTC)", "BY", "FAULTS", "ROLLBACK", "FAILED STEPS"],
        drills.map((drill) => [
          drill.id,
          drill.alias,
          drill.state,
          moment(drill.startedAt),
          drill.startedBy,
          drill.faults.join(","),
          drill.times.map(({ rollbackMs }) => (rollbackMs === null ? "" : millis(rollbackMs))).join(","),
          [...new Set(drill.steps.filter(({ result }) => result === "fail").map(({ name }) => name))].join(","),
        ]),
        "No drills yet.",
      ),
    );
  });
}
