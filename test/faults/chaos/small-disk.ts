/**
 * A disk of its own for the server's folder that can be really full: a tmpfs whose size is set to what is used. It takes root.
 */
import { execFileSync } from "node:child_process";
import { statfsSync } from "node:fs";

/** More than a run ever writes. Only what is used takes memory. */
const ROOMY_BYTES = 2 ** 31;
/** What a full disk has left at least and at most: less than what is written while it fills up is refused. */
const LEAST_SPARE_BYTES = 8_192;
const MOST_SPARE_BYTES = 262_144;

export class SmallDisk {
  readonly #folder: string;
  #isMounted = true;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Answers why there can be none, where there can't. */
  static mount(folder: string): SmallDisk | string {
    if (process.platform !== "linux") return `tmpfs is Linux's, and this is ${process.platform}`;
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${ROOMY_BYTES}`, "tmpfs", folder], { stdio: "pipe" });
    } catch (error) {
      return `mount is not permitted here: ${(error as Error).message.split("\n").at(-1) || (error as Error).message}`;
    }
    return new SmallDisk(folder);
  }

  /** Leaves no room for more than a small write. Answers whether that could be done. */
  fill(): boolean {
    for (let spareBytes = LEAST_SPARE_BYTES; spareBytes <= MOST_SPARE_BYTES; spareBytes *= 2) {
      const { blocks, bfree, bsize } = statfsSync(this.#folder);
      try {
        this.#resize((blocks - bfree) * bsize + spareBytes);
        return true;
      } catch {
        // The server has written more meanwhile, and a disk can't have less room than is used.
      }
    }
    return false;
  }

  mend(): void {
    this.#resize(ROOMY_BYTES);
  }

  /** Safe twice. */
  unmount(): void {
    if (this.#isMounted) execFileSync("umount", ["-l", this.#folder], { stdio: "pipe" });
    this.#isMounted = false;
  }

  #resize(bytes: number): void {
    execFileSync("mount", ["-o", `remount,size=${bytes}`, this.#folder], { stdio: "pipe" });
  }
}
