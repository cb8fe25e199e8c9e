/** `@flagback/provider/testing`: flagback for an agent's unit tests, without a server. Needs no test framework. */
export type { TestAlias, TestFlags } from "./test-flags.ts";
export { TestProvider, type TestProviderOptions } from "./test-provider.ts";
