/**
 * Internet addresses as rules see them: one form for each, and ranges that a person named.
 */
import { isIP } from "node:net";
import { FlagbackError } from "@flagback/schemas";
import ipaddr from "ipaddr.js";

export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** The address that a text is, an IPv4-mapped IPv6 address as IPv4; `undefined` where it is none. */
export function parseAddress(text: string | undefined): Address | undefined {
  // The library also takes octal and hexadecimal parts, which others read differently.
  return text !== undefined && isIP(text) !== 0 ? ipaddr.process(text) : undefined;
}

/** What counts as one sender: an IPv4 address, or the /64 that one host of IPv6 has to itself (RFC 6177). */
export function senderOf(address: string): string {
  const parsed = parseAddress(address);
  if (!(parsed instanceof ipaddr.IPv6)) return parsed?.toString() ?? address;
  return `${parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(":")}::/64`;
}

/** Whether a listener at this host is reached from this host only. Without one it listens on loopback. */
export function isLoopback(host = "localhost"): boolean {
  return host === "localhost" || parseAddress(host)?.range() === "loopback";
}

/** Addresses and CIDR ranges, such as `10.0.0.0/8` or `::1`. */
export class AddressRanges {
  readonly #ranges: readonly [Address, number][];

  private constructor(ranges: readonly [Address, number][]) {
    this.#ranges = ranges;
  }

  /** @throws FlagbackError `usage` that names every text that is no range. `option` is where they were given. */
  static parse(texts: readonly string[], option: string): AddressRanges {
    const ranges = texts.map((text) => ({ text, range: parseRange(text) }));
    const problems = ranges.filter((each) => each.range === undefined).map(({ text }) => `${text} is no address range`);
    if (problems.length > 0) {
      throw new FlagbackError({
        code: "usage",
        message: `${option}: ${problems.join("; ")}.`,
        hint: "Give an address such as 10.1.2.3 or ::1, or a range such as 10.0.0.0/8.",
        problems,
      });
    }
    return new AddressRanges(ranges.flatMap(({ range }) => (range ? [range] : [])));
  }

  includes(address: Address): boolean {
    return this.#ranges.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits));
  }
}

function parseRange(text: string): [Address, number] | undefined {
  const address = parseAddress(text);
  if (address) return [address, address.kind() === "ipv4" ? 32 : 128];
  const [base = "", bits, ...rest] = text.split("/");
  const isRange = isIP(base) !== 0 && rest.length === 0 && /^\d{1,3}$/.test(bits ?? "") && ipaddr.isValidCIDR(text);
  return isRange ? ipaddr.parseCIDR(text) : undefined;
}
