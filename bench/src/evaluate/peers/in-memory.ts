/** OpenFeature's own InMemoryProvider. */
import { InMemoryProvider } from "@openfeature/server-sdk";
import { clientOf, readsFlag } from "../client.ts";
import type { Product } from "../contestant.ts";
import { FLAG } from "../traffic.ts";

export const IN_MEMORY: Product = {
  name: "InMemoryProvider",
  start: async () => {
    const provider = new InMemoryProvider({
      [FLAG]: { variants: { on: true, off: false }, defaultVariant: "on", disabled: false },
    });
    const client = await clientOf("in-memory", provider);
    return { flags: [readsFlag("InMemoryProvider, static flag", client, FLAG)], stop: () => {} };
  },
};
