/**
 * Who may import whom (docs/decisions/0001, AGENTS.md). `npm run check:layers` checks it;
 * test/package/layers.test.ts plants a violation of each rule and sees it reported.
 */

const SCHEMAS = "^schemas/";
const CORE = "^src/";
const PROVIDER = "^provider/";
const SERVER = "^server/";
const STORE = "^server/src/store/";
const ADAPTERS = "^provider/src/adapters/";

/** The only places of the server where a runtime lives, so the only ones that may use the provider. */
const RUNTIME_HOSTS = ["^server/src/cli/", "^server/src/demo/", "^server/src/rehearsal/"];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-circular",
      comment: "A cycle hides which file decides. Types that two files share belong in a third.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-unresolvable",
      comment: "An import that resolves to nothing escapes every other rule.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "no-undeclared-package",
      comment: "A package that its own package.json does not name is not there when ours is installed alone.",
      severity: "error",
      from: { path: [SCHEMAS, CORE, PROVIDER, SERVER], pathNot: "^schemas/generate\\.ts$" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "no-development-package",
      comment: "A development dependency is not installed with ours; only its types may be used.",
      severity: "error",
      // flagd.ts is published as a bundle of what it imports (provider/bundle.ts).
      from: {
        path: [SCHEMAS, CORE, PROVIDER, SERVER],
        pathNot: ["^schemas/generate\\.ts$", "^provider/src/snapshot/flagd\\.ts$"],
      },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "schemas-import-nobody",
      comment: "Every other part speaks in terms of schemas; schemas know none of them.",
      severity: "error",
      from: { path: SCHEMAS },
      to: { path: [CORE, PROVIDER, SERVER] },
    },
    {
      name: "core-imports-schemas-only",
      comment: "The decisions must not know who carries them out.",
      severity: "error",
      from: { path: CORE },
      to: { path: [PROVIDER, SERVER] },
    },
    {
      name: "core-is-pure",
      comment: "No I/O, no clock, no randomness: of Node's modules only node:crypto, for hashes.",
      severity: "error",
      from: { path: CORE },
      to: { dependencyTypes: ["core"], pathNot: "^(node:)?crypto$" },
    },
    {
      name: "provider-without-server",
      comment: "The provider installs without a native build and without the server.",
      severity: "error",
      from: { path: PROVIDER },
      to: { path: SERVER },
    },
    {
      name: "adapters-are-doors",
      comment: "Only who imports an adapter's sub-path loads it: its framework may not be there.",
      severity: "error",
      from: { path: PROVIDER, pathNot: ADAPTERS },
      to: { path: ADAPTERS },
    },
    {
      name: "frameworks-in-adapters-only",
      comment: "Agent frameworks are optional peers of the provider, and nothing else of ours knows them.",
      severity: "error",
      from: { path: [SCHEMAS, CORE, PROVIDER, SERVER], pathNot: ADAPTERS },
      to: { path: "node_modules/(@langchain|langchain|@openai|ai)(/|$)" },
    },
    {
      name: "server-without-provider",
      comment:
        "The server must not depend on what its clients happen to do; only the CLI, the demo and drills run a runtime.",
      severity: "error",
      from: { path: SERVER, pathNot: RUNTIME_HOSTS },
      to: { path: PROVIDER },
    },
    {
      name: "sql-in-the-store-only",
      comment: "One place knows the tables.",
      severity: "error",
      from: { pathNot: STORE },
      to: { path: "node_modules/(@types/)?(better-sqlite3|pg)(/|$)" },
    },
    {
      name: "nothing-imports-tests",
      comment: "Tests, benchmarks and examples are at the end of every arrow.",
      severity: "error",
      from: { path: [SCHEMAS, CORE, PROVIDER, SERVER] },
      to: { path: "^(test|bench|examples)/" },
    },
    {
      name: "no-reaching-in",
      comment: "A package is imported by its name, which gives what its index lists.",
      severity: "error",
      from: { path: "^(schemas|src|provider|server)/" },
      to: { path: "^(schemas|src|provider|server)/", pathNot: "^$1/", dependencyTypes: ["local"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)dist/" },
    tsConfig: { fileName: "tsconfig.base.json" },
    // Imports that only give types are dependencies too: they say who must know whom.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["flagback:source", "import", "node", "default", "types"],
      extensions: [".ts", ".js", ".json", ".d.ts"],
    },
  },
};
