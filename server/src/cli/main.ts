#!/usr/bin/env node
/**
 * The command `flagback`.
 */
import { processIo } from "./io.ts";
import { runCli } from "./program.ts";

// A reader that has seen enough, such as `head`, ends the command without a word.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), processIo());
