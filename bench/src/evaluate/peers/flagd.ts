/** flagd in process: its provider on a file of flags, and the evaluator in it by itself. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FlagdCore } from "@openfeature/flagd-core";
import { FlagdProvider } from "@openfeature/flagd-provider";
import { clientOf, readsFlag, readsSplit } from "../client.ts";
import type { Contestant, Product } from "../contestant.ts";
import { ALIAS, CANDIDATE, CANDIDATE_PERCENT, CANDIDATE_SHARE, callerOf, FLAG, STABLE } from "../traffic.ts";

const FLAGS = JSON.stringify({
  flags: {
    [FLAG]: { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "on" },
    [ALIAS]: {
      state: "ENABLED",
      variants: { [STABLE]: STABLE, [CANDIDATE]: CANDIDATE },
      defaultVariant: STABLE,
      targeting: {
        fractional: [
          [CANDIDATE, CANDIDATE_PERCENT],
          [STABLE, 100 - CANDIDATE_PERCENT],
        ],
      },
    },
  },
});

export const FLAGD: Product = {
  name: "flagd",
  start: async () => {
    const folder = await mkdtemp(join(tmpdir(), "flagback-bench-flagd-"));
    const file = join(folder, "flags.json");
    await writeFile(file, FLAGS);
    const provider = new FlagdProvider({ resolverType: "in-process", offlineFlagSourcePath: file });
    const client = await clientOf("flagd", provider);
    return {
      flags: [readsFlag("flagd in process, static flag", client, FLAG)],
      splits: [readsSplit("flagd in process, fractional", client, ALIAS)],
      direct: [fractional()],
      stop: async () => {
        await provider.onClose?.();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
};

export const FRACTIONAL = "flagd-core, fractional";

function fractional(): Contestant {
  const core = new FlagdCore();
  core.setConfigurations(FLAGS);
  const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
  const run = (calls: number) => {
    let candidates = 0;
    for (let i = 0; i < calls; i++) {
      if (core.resolveStringEvaluation(ALIAS, "", callerOf(i), silent).value === CANDIDATE) candidates += 1;
    }
    return candidates;
  };
  return { name: FRACTIONAL, through: "direct", expectedShare: CANDIDATE_SHARE, run };
}
