/**
 * Signals that fire. On Node 20 `AbortSignal.any` over `AbortSignal.timeout` can be collected before its time; these are
 * held by their timer and by their sources.
 */

/** Aborts after the time with a `TimeoutError`. Keeps no process alive. */
export function timeoutSignal(timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new DOMException("no answer in time", "TimeoutError")), timeoutMs);
  timer.unref();
  return controller.signal;
}

/** Aborts with the first of the signals. */
export function anySignal(signals: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  for (const signal of signals) {
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }
  return controller.signal;
}
