import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["flagback:source"] },
  ssr: { resolve: { conditions: ["flagback:source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    // Tests start real servers and real processes; two cores carry two files at a time.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
