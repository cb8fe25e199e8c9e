/**
 * A monotonic clock that every process of the machine reads the same on Linux and macOS: `performance.now()` without the
 * process's own start taken off.
 */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
