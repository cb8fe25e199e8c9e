/**
 * Runs that say the same, counted in groups of a size that the schema allows.
 */
import { MAX_GROUP_RUNS } from "@flagback/schemas";

export type Counted<Group> = Group & { n: number };

export class RunGroups<Group extends object> {
  readonly all: Counted<Group>[] = [];
  readonly #maxGroups: number;
  /** The group of a key that still has room. */
  readonly #open = new Map<string, Counted<Group>>();

  constructor(maxGroups: number) {
    this.#maxGroups = maxGroups;
  }

  /** Counts one run under its key, where there is room for it. */
  add(key: string, group: Group): boolean {
    const open = this.#open.get(key);
    if (open && open.n < MAX_GROUP_RUNS) {
      open.n += 1;
      return true;
    }
    if (this.all.length >= this.#maxGroups) return false;
    const opened = { ...group, n: 1 };
    this.#open.set(key, opened);
    this.all.push(opened);
    return true;
  }
}
