/**
 * What the steps of a scenario do. A step that none or several definitions match is a failure, never passed over.
 */
import type { Step, Table } from "./features.ts";

/** Does one step and throws where what it says is not so. `args` are the pattern's groups. */
export type Action<World> = (world: World, args: readonly string[], table: Table) => void | Promise<void>;

export interface BoundStep<World> {
  readonly text: string;
  run(world: World): void | Promise<void>;
}

export class Registry<World> {
  readonly #definitions: { readonly pattern: RegExp; readonly action: Action<World> }[] = [];

  /** The pattern must match the whole text of the step. */
  define(pattern: RegExp, action: Action<World>): this {
    this.#definitions.push({ pattern: new RegExp(`^(?:${pattern.source})$`, pattern.flags), action });
    return this;
  }

  /** @throws where not exactly one definition matches */
  bind({ text, table }: Step): BoundStep<World> {
    const matching = this.#definitions.flatMap(({ pattern, action }) => {
      const match = pattern.exec(text);
      return match ? [{ pattern, action, args: match.slice(1).map((group) => group ?? "") }] : [];
    });
    const [only] = matching;
    if (!only) throw new Error(`undefined step: ${text}`);
    if (matching.length > 1) {
      throw new Error(`ambiguous step: ${text} (${matching.map(({ pattern }) => pattern.source).join(" and ")})`);
    }
    return { text, run: (world) => only.action(world, only.args, table) };
  }
}
