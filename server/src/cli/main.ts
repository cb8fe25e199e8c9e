#!/usr/bin/env node
/**
 * The command `flagback`.
 */
import { processIo } from "./io.ts";
import { runCli } from "./program.ts";

process.exitCode = await runCli(process.argv.slice(2), processIo());
