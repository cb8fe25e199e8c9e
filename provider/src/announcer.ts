/**
 * Tells the OpenFeature SDK about the provider's status. While `initialize` is under way the SDK sets the status itself,
 * from how the promise ends, and would overwrite what we emit: events wait until it has.
 */
import { ErrorCode, type OpenFeatureEventEmitter, ProviderEvents } from "@openfeature/server-sdk";
import type { Status } from "./connection/state.ts";

export class StatusAnnouncer {
  readonly #events: OpenFeatureEventEmitter;
  #announced: Status = "not_ready";
  #latest: { readonly status: Status; readonly detail: string } | null = null;
  #isHeld = true;
  #holds = 0;

  constructor(events: OpenFeatureEventEmitter) {
    this.#events = events;
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
        this.#events.emit(ProviderEvents.Error, { message, errorCode: ErrorCode.GENERAL });
        return;
      case "not_ready":
        return;
    }
  }

  changed(flagsChanged: readonly string[], revision: number): void {
    if (this.#isHeld || flagsChanged.length === 0) return;
    this.#events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...flagsChanged], metadata: { revision } });
  }
}
