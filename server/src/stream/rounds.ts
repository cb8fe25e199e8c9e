/**
 * Members that are each due once in every interval, some at every step of it: what is done for all of them never comes at
 * once, where one thing for ten thousand of them would hold up everything else.
 */

/** Parts of an interval. */
const STEPS = 50;

export class Rounds<Member> {
  readonly stepMs: number;
  readonly #steps: readonly Set<Member>[] = Array.from({ length: STEPS }, () => new Set<Member>());
  readonly #stepOf = new Map<Member, Set<Member>>();
  #joined = 0;
  #step = 0;
  #nextMs: number;

  constructor(intervalMs: number, nowMs: number) {
    this.stepMs = intervalMs / STEPS;
    this.#nextMs = nowMs + this.stepMs;
  }

  get size(): number {
    return this.#stepOf.size;
  }

  /** By turns, so that those who come together part. */
  add(member: Member): void {
    const step = this.#steps[this.#joined % STEPS] as Set<Member>;
    this.#joined += 1;
    step.add(member);
    this.#stepOf.set(member, step);
  }

  delete(member: Member): void {
    this.#stepOf.get(member)?.delete(member);
    this.#stepOf.delete(member);
  }

  /** In the order in which they joined. */
  [Symbol.iterator](): Iterator<Member> {
    return this.#stepOf.keys();
  }

  /** Those whose turn has come since the last call; after a long pause everybody, once. */
  *due(nowMs: number): Iterable<Member> {
    for (let taken = 0; taken < STEPS && this.#nextMs <= nowMs; taken++) {
      const step = this.#steps[this.#step] as Set<Member>;
      this.#step = (this.#step + 1) % STEPS;
      this.#nextMs += this.stepMs;
      yield* step;
    }
    if (this.#nextMs <= nowMs) this.#nextMs = nowMs + this.stepMs;
  }
}
