/**
 * What a runtime process of our own tells of itself, whatever else it is there for.
 */
import type { RuntimeProcess } from "./child.ts";

export interface RuntimeStanding {
  readonly name: string;
  /** The provider's, once it is connected. */
  instance: string | undefined;
  /** `lost` is one that ended without having been asked to. */
  state: "starting" | "up" | "running" | "killed" | "lost";
}

export type OfItself =
  /** The process listens. */
  | { readonly type: "up" }
  /** The provider is READY. */
  | { readonly type: "ready"; readonly instance: string }
  /** The provider's log. */
  | { readonly type: "log"; readonly message: string };

/** Keeps the standing up to date, and passes on what the process tells besides. */
export function followStanding<To, Besides extends { readonly type: string }>(
  standing: RuntimeStanding,
  child: RuntimeProcess<To, OfItself | Besides>,
  on: { readonly log: (line: string) => void; readonly besides: (message: Besides) => void },
): void {
  child.onMessage((message) => {
    if (isOfItself(message)) {
      if (message.type === "up") standing.state = "up";
      else if (message.type === "log") on.log(`${standing.name}: ${message.message}`);
      else {
        standing.state = "running";
        standing.instance = message.instance;
      }
    } else on.besides(message);
  });
}

function isOfItself(message: OfItself | { readonly type: string }): message is OfItself {
  return message.type === "up" || message.type === "ready" || message.type === "log";
}
