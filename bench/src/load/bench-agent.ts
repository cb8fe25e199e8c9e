/** What the benchmarks roll out. */
export const ALIAS = "bench-agent";
export const STABLE = "bench-agent@1";
export const CANDIDATE = "bench-agent@2";
