/**
 * What stands between one runtime and its server, and carries out the schedule's faults: a network and a gateway.
 */
import { decodeRuntimeFrame } from "@flagback/schemas";
import { FrameGateway, type GatewayEvents, type GatewayLink, type Upstream } from "../../support/frame-gateway.ts";
import { NetworkProxy } from "../../support/network-proxy.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { impostorAnswer, impostorGreeting } from "./any-message.ts";
import { brokenBytes, carriesState, invented, mutated, newer, remarked, tamed } from "./hostile-frames.ts";
import type { RuntimeFault } from "./schedule.ts";

/** Frames that can be replayed. */
const KEPT_FRAMES = 64;
/**
 * Ends a connection whose runtime may hold what its server never said, right behind that frame: what the server says next
 * would continue from another state, and no protocol can tell.
 */
const INTERNAL_ERROR = 1011;

export class Attack {
  readonly #proxy: NetworkProxy;
  readonly #gateway: FrameGateway;
  readonly #frames: readonly string[];
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(proxy: NetworkProxy, gateway: FrameGateway, frames: readonly string[]) {
    this.#proxy = proxy;
    this.#gateway = gateway;
    this.#frames = frames;
  }

  static async begin(upstream: () => Upstream, events: GatewayEvents): Promise<Attack> {
    const frames: string[] = [];
    const gateway = await FrameGateway.start(upstream, {
      ...events,
      sent: (link, text) => {
        if (text !== null && frames.push(text) > KEPT_FRAMES) frames.shift();
        events.sent(link, text);
      },
    });
    return new Attack(await NetworkProxy.start(() => gateway.url), gateway, frames);
  }

  /** Where the runtime connects. */
  get url(): string {
    return this.#proxy.url;
  }

  /** Connections that the runtime ever made. */
  get connections(): number {
    return this.#proxy.accepted;
  }

  /** Does what the schedule says, now. */
  perform(fault: RuntimeFault): void {
    switch (fault.kind) {
      case "partition":
        this.#proxy.partition(fault.directions, fault.loss);
        this.#later(fault.forMs, () => this.#proxy.heal());
        return;
      case "delay":
        this.#proxy.delay(fault.ms);
        this.#later(fault.forMs, () => this.#proxy.delay(0));
        return;
      case "cut":
        this.#proxy.cut(fault.ending);
        return;
      case "cutAfter":
        this.#proxy.cutAfter(fault.bytes);
        return;
      case "brokenBytes":
        this.#gateway.link?.sendBytes(brokenBytes(new SeededRandom(fault.seed)));
        return;
      case "inventedFrame":
        this.#say(tamed(invented(new SeededRandom(fault.seed))));
        return;
      case "replayedFrame":
        this.#say(this.#frames.at(-fault.back));
        return;
      case "mutatedFrame":
        this.#gateway.spoil((text, link) => {
          const random = new SeededRandom(fault.seed);
          const spoilt = tamed(mutated(text, random));
          if (carriesState(spoilt) || acknowledges(text)) endBehind(link);
          return [carriesState(spoilt) ? remarked(spoilt, random) : spoilt];
        });
        return;
      case "newerFrame":
        this.#gateway.spoil((text) => [newer(text, new SeededRandom(fault.seed))]);
        return;
      case "droppedFrame":
        this.#gateway.spoil((text, link) => {
          if (!isMeant(text, fault.isState)) return null;
          if (acknowledges(text)) endBehind(link);
          return [];
        });
        return;
      case "repeatedFrame":
        this.#gateway.spoil((text) => (isMeant(text, fault.isState) ? [text, text] : null));
        return;
      case "overtakenFrame":
        this.#gateway.spoil((earlier) => {
          if (!isMeant(earlier, fault.isState)) return null;
          this.#gateway.spoil((later) => [later, earlier]);
          return [];
        });
        return;
      case "impostor":
        this.#impersonate(new SeededRandom(fault.seed), fault.forMs);
        return;
      case "refusal":
        this.#gateway.refuse(refusal(fault.status, fault.retryAfter));
        return;
      case "blockedStream":
        this.#gateway.block(refusal(fault.status));
        return;
      case "replayedAnswer":
        this.#gateway.replayAnswer();
        return;
    }
  }

  /** Another server is on duty. */
  moved(): void {
    this.#gateway.moved();
  }

  /** From now on no packet passes, and nothing is closed. */
  vanish(): void {
    this.#proxy.partition();
  }

  /** From now on everything works but a stream that is blocked. */
  relent(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#gateway.behave();
    this.#proxy.heal();
  }

  /** From now on everything works. */
  end(): void {
    this.relent();
    this.#gateway.block(null);
  }

  async close(): Promise<void> {
    this.end();
    await this.#proxy.close();
    await this.#gateway.close();
  }

  #say(text: string | undefined): void {
    const { link } = this.#gateway;
    if (text === undefined || !link) return;
    link.send(text);
    if (carriesState(text)) link.end(INTERNAL_ERROR);
  }

  #impersonate(random: SeededRandom, forMs: number): void {
    const trueEpoch = /"epoch":"([0-9a-f]{32})"/.exec(this.#frames.join())?.[1] ?? random.hex(32);
    const isAbrupt = random.chance(0.5);
    this.#gateway.impersonate({
      heard: (link, text) => {
        const decoded = decodeRuntimeFrame(text);
        if (decoded.kind !== "message") return;
        const { message } = decoded;
        if (message.type === "hello") {
          this.#later(forMs, () => link.end(isAbrupt ? undefined : 1001));
          for (const said of impostorGreeting(random, trueEpoch)) link.send(JSON.stringify(said));
        } else if (message.type === "lease") link.send(tamed(JSON.stringify(impostorAnswer(random, message.id))));
      },
    });
  }

  #later(afterMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, afterMs);
    this.#timers.add(timer);
  }
}

/**
 * Outcomes wait for their acknowledgement as long as their connection lives, because a server may be long in writing them; so
 * one that is lost, as no TCP loses it, is made up for by the next connection.
 */
function acknowledges(text: string): boolean {
  return text.includes('"outcomesAck"');
}

function isMeant(text: string, isState: boolean): boolean {
  return !isState || carriesState(text);
}

/** Behind the frame that is about to be sent. */
function endBehind(link: GatewayLink): void {
  queueMicrotask(() => link.end(INTERNAL_ERROR));
}

function refusal(status: number, retryAfter?: string) {
  return {
    status,
    headers: { "content-type": "text/html", ...(retryAfter !== undefined && { "retry-after": retryAfter }) },
    text: status === 204 ? "" : "<html><body>Not what you are looking for.</body></html>",
  };
}
