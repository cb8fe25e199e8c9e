/**
 * Tells the OpenFeature SDK about the provider's status. While `initialize` is under way the SDK sets the status itself,
 * from how the promise ends, and would overwrite what we emit: events wait until it has.
 */
import { ErrorCode, OpenFeatureError, type OpenFeatureEventEmitter, ProviderEvents } from "@openfeature/server-sdk";
import type { Status } from "./connection/state.ts";

export class StatusAnnouncer {
  readonly #events: OpenFeatureEventEmitter;
  readonly #tellsInitialize: boolean;
  #announced: Status = "not_ready";
  #latest: { readonly status: Status; readonly detail: string } | null = null;
  #isHeld = true;
  #holds = 0;

  /** @param tellsInitialize whether we say how `initialize` ended, or leave it to the SDK */
  constructor(events: OpenFeatureEventEmitter, tellsInitialize: boolean) {
    this.#events = events;
    this.#tellsInitialize = tellsInitialize;
  }

  /** Before the promise of `initialize` settles (specification 2.8.2, 2.8.3). */
  initialized(error: Error | null): void {
    if (!this.#tellsInitialize) return;
    if (error) this.#emitError(error.message, error instanceof OpenFeatureError ? error.code : ErrorCode.GENERAL);
    else this.#events.emit(ProviderEvents.Ready, { message: "initialized" });
  }

  /**
   * Nothing is emitted until the answer is called, which says what the SDK made of the promise of `initialize`. The answer
   * of a hold that a later one followed does nothing.
   */
  hold(): (announcedByTheSdk: "ready" | "error") => void {
    this.#holds += 1;
    const hold = this.#holds;
    this.#isHeld = true;
    this.#latest = null;
    return (announcedByTheSdk) => {
      if (hold !== this.#holds) return;
      this.#announced = announcedByTheSdk;
      this.#isHeld = false;
      if (this.#latest) this.announce(this.#latest.status, this.#latest.detail);
    };
  }

  announce(status: Status, message: string): void {
    this.#latest = { status, detail: message };
    if (this.#isHeld || status === this.#announced) return;
    this.#announced = status;
    switch (status) {
      case "ready":
        this.#events.emit(ProviderEvents.Ready, { message });
        return;
      case "stale":
        this.#events.emit(ProviderEvents.Stale, { message });
        return;
      case "error":
        this.#emitError(message, ErrorCode.GENERAL);
        return;
      case "not_ready":
        return;
    }
  }

  changed(flagsChanged: readonly string[], revision: number): void {
    if (this.#isHeld || flagsChanged.length === 0) return;
    this.#events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...flagsChanged], metadata: { revision } });
  }

  #emitError(message: string, errorCode: ErrorCode): void {
    this.#events.emit(ProviderEvents.Error, { message, errorCode });
  }
}
