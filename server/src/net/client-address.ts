/**
 * Who a request comes from, where proxies that we trust may stand in between.
 */
import type { IncomingMessage } from "node:http";
import { type AddressRanges, parseAddress } from "./addresses.ts";

/**
 * The nearest address that is no trusted proxy's. Only such a proxy's `X-Forwarded-For` is believed, from right to left,
 * and only as far as it holds addresses: what a stranger writes there names nobody.
 */
export function clientAddress(request: IncomingMessage, trustedProxies: AddressRanges): string {
  let client = parseAddress(request.socket.remoteAddress);
  const forwarded = [request.headers["x-forwarded-for"] ?? []].flat().join(",").split(",");
  while (client && trustedProxies.includes(client)) {
    const before = parseAddress(forwarded.pop()?.trim());
    if (!before) break;
    client = before;
  }
  return client?.toString() ?? "unknown";
}
