/**
 * Where alerts may go. Whoever may add a webhook must not reach through the server what only the server can reach: itself,
 * the private network, the cloud's metadata service (OWASP: server-side request forgery).
 */
import { type LookupAddress, type LookupAllOptions, lookup as systemLookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { FlagbackError } from "@flagback/schemas";
import { type Address, AddressRanges, parseAddress } from "../net/addresses.ts";

/** Finds all addresses of a name, as `dns.lookup` does with `all`. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** What is assigned to the public internet. Outside of it IPv6 has nothing that a webhook could be at (RFC 4291, 2.4). */
const GLOBAL_IPV6 = AddressRanges.parse(["2000::/3"], "global IPv6");
/** Azure's host and its metadata: a public address that only the inside reaches. */
const METADATA = AddressRanges.parse(["168.63.129.16"], "metadata");
const LOCAL_NAME = /(^|\.)localhost\.?$/i;

export class WebhookGuard {
  readonly #allowed: AddressRanges;
  readonly #resolve: Resolve;

  constructor(allowed: AddressRanges, resolve: Resolve = systemLookup) {
    this.#allowed = allowed;
    this.#resolve = resolve;
  }

  /** Whether alerts may be sent to an address. */
  permits(address: Address): boolean {
    if (this.#allowed.includes(address)) return true;
    if (address.range() !== "unicast" || METADATA.includes(address)) return false;
    return address.kind() === "ipv4" || GLOBAL_IPV6.includes(address);
  }

  /**
   * Checks what a URL shows without asking anybody: an address in it, or this host's own name.
   * @throws FlagbackError `webhook_address_refused`
   */
  check(url: URL): void {
    const literal = literalOf(url);
    const isRefused = literal ? !this.permits(literal) : LOCAL_NAME.test(url.hostname) && !this.#permitsLoopback();
    if (isRefused) throw refused(url.hostname);
  }

  /**
   * A lookup for one connection. What it answers is what is connected to, so a name that changes its mind between the
   * check and the connection gains nothing.
   */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, "");
      const permitted = addresses.filter(({ address }) => {
        const parsed = parseAddress(address);
        return parsed !== undefined && this.permits(parsed);
      });
      const [first] = permitted;
      if (!first) return callback(refused(hostname), "");
      if (options.all) callback(null, permitted);
      else callback(null, first.address, first.family);
    });
  };

  #permitsLoopback(): boolean {
    return ["127.0.0.1", "::1"].some((text) => {
      const address = parseAddress(text);
      return address !== undefined && this.#allowed.includes(address);
    });
  }
}

/** The address that a URL names itself; no lookup happens for it. */
function literalOf({ hostname }: URL): Address | undefined {
  return parseAddress(hostname.replace(/^\[|\]$/g, ""));
}

function refused(hostname: string): FlagbackError {
  return new FlagbackError({
    code: "webhook_address_refused",
    message: `${hostname} is on this host, in a private network or reserved, so alerts are not sent there.`,
    hint: "Use an address of the public internet, or allow this one: flagback serve --webhook-allow ADDRESS.",
  });
}
