/** `flagback demo`: the whole loop on one screen, and the process that plays a runtime in it. */
import type { Command } from "commander";
import type { Io } from "../io.ts";
import { wholeNumber } from "../remote-command.ts";

const DEFAULT_SEED = 1;
/** Slow enough to be watched, fast enough not to be waited for. */
const RUNS_PER_SECOND = 600;
/** 2 000 runs at 5 % in a good half minute. */
const HEALTHY_RUNS_PER_SECOND = 1_200;

interface DemoFlags {
  readonly seed: number;
  readonly port: number;
  readonly rate?: number;
  readonly exit?: boolean;
  readonly json?: boolean;
  readonly healthy?: boolean;
  readonly killOne?: boolean;
}

export function addDemo(program: Command, io: Io, setStatus: (status: number) => void): void {
  program
    .command("demo")
    .summary("watch a bad version being rolled back on three runtimes")
    .description(
      "Starts a real server on a fresh data folder and three runtime processes that replay recorded agent runs, gives a " +
        "worse version 5 % of the traffic, and shows how it is rolled back. Then it stays up until Ctrl-C.",
    )
    .option("--exit", "end after convergence, with status 0 only if everything is proven")
    .option("--json", "with the result as one line of JSON on standard output, and the progress on standard error")
    .option("--healthy", "both versions replay what was recorded: there must be no stop")
    .option("--kill-one", "kill one runtime with SIGKILL before the verdict")
    .option("--seed <n>", "order of the runs", wholeNumber(0, 2 ** 31 - 1), DEFAULT_SEED)
    .option("--port <port>", "port of the server; 0 takes a free one", wholeNumber(0, 65_535), 0)
    .option(
      "--rate <n>",
      `runs a second in all (default ${RUNS_PER_SECOND}, with --healthy ${HEALTHY_RUNS_PER_SECOND})`,
      wholeNumber(30, 5_000),
    )
    .action(async (flags: DemoFlags) => {
      const { runDemo } = await import("../../demo/demo.ts");
      const { seed, port, exit = false, json = false, healthy = false, killOne = false } = flags;
      const runsPerSecond = flags.rate ?? (healthy ? HEALTHY_RUNS_PER_SECOND : RUNS_PER_SECOND);
      setStatus(await runDemo({ seed, port, runsPerSecond, exit, json, healthy, killOne }, io));
    });

  program.command("demo-runtime", { hidden: true }).action(async () => {
    const { playRuntime } = await import("../../demo/runtime.ts");
    await playRuntime();
  });
}
