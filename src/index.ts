export * from "./allocation/index.ts";
export * from "./brain/index.ts";
export * from "./drill/index.ts";
export * from "./evaluation/index.ts";
export * from "./rollout/index.ts";
