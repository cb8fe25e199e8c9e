/**
 * Runs that were handed to a version, from there until their outcome is durable: announced to the server in groups, and
 * announced again to a server that forgot them.
 */
import { ANNOUNCE_WITHIN_MS, MAX_OPEN_ASSIGNMENTS } from "../limits.ts";
import { type Counted, RunGroups } from "./run-groups.ts";

/** One run handed to a version. */
export interface Assignment {
  readonly alias: string;
  readonly version: string;
  /** Revision of the alias document that the version was served from; 0 for the caller's default. */
  readonly revision: number;
}

/**
 * The handle that ties a run's outcome to the batch that announced the run: not announced yet, announced by batch `seq`, or
 * lost. Only the outbox changes it.
 */
export interface Announcement extends Assignment {
  seq: number | null;
  lost: boolean;
}

export class Assignments {
  /** Announced or about to be, and without a durable outcome. */
  readonly #open = new Set<Announcement>();
  #unannounced: Announcement[] = [];
  #dueMs: number | null = null;

  add({ alias, version, revision }: Assignment, nowMs: number): Announcement {
    const announcement: Announcement = { alias, version, revision, seq: null, lost: false };
    this.#unannounced.push(announcement);
    if (this.#open.size < MAX_OPEN_ASSIGNMENTS) this.#open.add(announcement);
    this.#dueMs ??= nowMs + ANNOUNCE_WITHIN_MS;
    return announcement;
  }

  /** When those that wait must be announced; null while none does. */
  get dueMs(): number | null {
    return this.#dueMs;
  }

  get hasWaiting(): boolean {
    return this.#unannounced.length > 0;
  }

  /** Groups those that wait and marks them as announced by batch `seq`, as many groups as it may hold. */
  announce(seq: number, maxGroups: number): readonly Counted<Assignment>[] {
    const groups = new RunGroups<Assignment>(maxGroups);
    const left: Announcement[] = [];
    for (const announcement of this.#unannounced) {
      const { alias, version, revision } = announcement;
      if (groups.add(`${alias} ${version} ${revision}`, { alias, version, revision })) announcement.seq = seq;
      else left.push(announcement);
    }
    this.#unannounced = left;
    this.#dueMs = left.length > 0 ? 0 : null;
    return groups.all;
  }

  /** Its outcome is durable, or nothing can become of it any more. */
  close(announcement: Announcement): void {
    this.#open.delete(announcement);
  }

  /** The run's outcome is lost. An assignment that nobody heard of yet is lost with it, so that nobody waits for it. */
  forget(announcement: Announcement): void {
    this.#open.delete(announcement);
    if (announcement.seq !== null) return;
    announcement.lost = true;
    const index = this.#unannounced.indexOf(announcement);
    if (index >= 0) this.#unannounced.splice(index, 1);
  }

  /** Batch `seq` will never be counted: the open runs that it announced are lost with it. They are handed back. */
  lose(seq: number): Announcement[] {
    const lost = [...this.#open].filter((announcement) => announcement.seq === seq);
    for (const announcement of lost) {
      announcement.lost = true;
      this.#open.delete(announcement);
    }
    return lost;
  }

  /** Nothing after batch `through` was counted: what was announced there waits again, and so do `others`. */
  reopen(through: number, others: readonly Announcement[]): void {
    for (const announcement of new Set([...this.#open, ...others])) {
      if (announcement.lost || announcement.seq === null || announcement.seq <= through) continue;
      announcement.seq = null;
      this.#unannounced.push(announcement);
    }
    if (this.#unannounced.length > 0) this.#dueMs = 0;
  }
}
