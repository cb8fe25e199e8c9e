/**
 * A map that never changes: a change gives the next one, in time that grows with the change alone. All generations share one
 * table. The newest owns it and is read like any other map; an older one knows what was different in it, and is given a
 * table of its own when it is read again (Henry G. Baker, "Shallow Binding Makes Functional Arrays Fast", 1991).
 */
export class PersistentMap<Value> {
  #held: Map<string, Value> | Superseded<Value>;

  constructor(entries: Iterable<readonly [string, Value]>) {
    this.#held = new Map(entries);
  }

  get size(): number {
    return this.#table().size;
  }

  get(key: string): Value | undefined {
    return this.#table().get(key);
  }

  has(key: string): boolean {
    return this.#table().has(key);
  }

  keys(): string[] {
    return [...this.#table().keys()];
  }

  values(): Value[] {
    return [...this.#table().values()];
  }

  /** A copy's iterator: what is walked through stays as it is while changes come. */
  [Symbol.iterator](): Iterator<[string, Value]> {
    return [...this.#table()].values();
  }

  /** The map after the changes; `undefined` takes a key out. */
  with(changes: ReadonlyMap<string, Value | undefined>): PersistentMap<Value> {
    const table = this.#table();
    const before = new Map<string, Value | undefined>();
    for (const [key, value] of changes) {
      before.set(key, table.get(key));
      write(table, key, value);
    }
    const next = new PersistentMap<Value>([]);
    next.#held = table;
    this.#held = { before, next };
    return next;
  }

  #table(): Map<string, Value> {
    if (this.#held instanceof Map) return this.#held;
    const changes: ReadonlyMap<string, Value | undefined>[] = [];
    let held: Map<string, Value> | Superseded<Value> = this.#held;
    while (!(held instanceof Map)) {
      changes.push(held.before);
      held = held.next.#held;
    }
    const table = new Map(held);
    for (const before of changes.reverse()) {
      for (const [key, value] of before) write(table, key, value);
    }
    this.#held = table;
    return table;
  }
}

/** What a map is once another has taken its table over. */
interface Superseded<Value> {
  /** What the next map's changes replaced; `undefined` for a key that was not there. */
  readonly before: ReadonlyMap<string, Value | undefined>;
  readonly next: PersistentMap<Value>;
}

function write<Value>(table: Map<string, Value>, key: string, value: Value | undefined): void {
  if (value === undefined) table.delete(key);
  else table.set(key, value);
}
