/** Webhooks reach the public internet and what an operator allowed, however an address is written or a name changes. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { postAlert } from "../../server/src/alerts/post-alert.ts";
import { type Resolve, WebhookGuard } from "../../server/src/alerts/webhook-guard.ts";
import { AddressRanges, parseAddress } from "../../server/src/net/addresses.ts";
import { eventually, testServer } from "../support/server.ts";

const NONE = AddressRanges.parse([], "test");
const LOOPBACK = AddressRanges.parse(["127.0.0.1"], "test");
const permits = (text: string, allowed = NONE) => new WebhookGuard(allowed).permits(parseAddress(text)!);

describe("an address", () => {
  // The ranges of the IANA special-purpose registries for IPv4 and IPv6, first and last, and the clouds' metadata.
  test.each([
    ["this network", "0.0.0.0", "0.255.255.255"],
    ["private", "10.0.0.0", "10.255.255.255"],
    ["carrier-grade NAT, also Alibaba's metadata", "100.64.0.0", "100.100.100.200", "100.127.255.255"],
    ["loopback", "127.0.0.1", "127.255.255.255"],
    ["link-local, also the metadata of most clouds", "169.254.0.0", "169.254.169.254", "169.254.255.255"],
    ["private", "172.16.0.0", "172.31.255.255"],
    ["protocol assignments", "192.0.0.0", "192.0.0.255"],
    ["documentation", "192.0.2.1", "198.51.100.1", "203.0.113.1"],
    ["private", "192.168.0.0", "192.168.255.255"],
    ["benchmarking", "198.18.0.0", "198.19.255.255"],
    ["multicast", "224.0.0.1", "239.255.255.255"],
    ["reserved and broadcast", "240.0.0.0", "255.255.255.255"],
    ["Azure's metadata", "168.63.129.16"],
    ["IPv6 unspecified and loopback", "::", "::1"],
    ["IPv4 inside of IPv6, mapped", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe"],
    ["IPv4 inside of IPv6, compatible", "::127.0.0.1", "::a00:1"],
    ["IPv4 behind NAT64", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1"],
    ["6to4 and Teredo", "2002:7f00:1::", "2002:a00:1::1", "2001::1"],
    ["unique local, also Amazon's metadata", "fc00::1", "fd00:ec2::254", "fdff::1"],
    ["link-local", "fe80::1", "febf::1"],
    ["site-local of old", "fec0::1"],
    ["multicast of IPv6", "ff02::1"],
    ["documentation of IPv6", "2001:db8::1", "3fff::1"],
    ["what nobody has assigned", "4000::1", "1::1", "5f00::1"],
  ])("that is %s is refused", (_what, ...addresses) => {
    expect(addresses.filter((address) => permits(address))).toEqual([]);
  });

  test("of the public internet is permitted", () => {
    const addresses = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"];
    expect(addresses.filter((address) => !permits(address))).toEqual([]);
  });

  test("that an operator allowed is permitted, and its neighbours are not", () => {
    const allowed = AddressRanges.parse(["10.1.0.0/16", "fd12::1"], "test");
    expect(["10.1.255.255", "::ffff:10.1.2.3", "fd12::1"].filter((address) => !permits(address, allowed))).toEqual([]);
    expect(["10.2.0.0", "fd12::2", "127.0.0.1"].filter((address) => permits(address, allowed))).toEqual([]);
  });

  test("is judged alike as IPv4 and mapped into IPv6", () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(permits(`::ffff:${address}`)).toBe(permits(address));
      }),
    );
  });
});

describe("a webhook", () => {
  test.each([
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.0.0.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://user:password@10.0.0.1/",
    "http://localhost:7780/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "https://[fd00:ec2::254]/",
  ])("with the address %s is refused when somebody adds it, and nothing is kept", async (url) => {
    const server = await testServer({ webhookAllow: [] });
    const answer = await server.call("POST", "/v1/webhooks", { url });
    expect(answer).toMatchObject({ status: 400, body: { code: "webhook_address_refused" } });
    expect(JSON.stringify(answer.body)).not.toContain("password");
    expect((await server.call("GET", "/v1/webhooks")).body).toEqual({ webhooks: [] });
  });

  test.each(["ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "gopher://x/", "example.com"])(
    "with the URL %s is no webhook",
    async (url) => {
      const server = await testServer();
      expect(await server.call("POST", "/v1/webhooks", { url })).toMatchObject({ status: 400 });
    },
  );
});

describe("a delivery", () => {
  test("to a name that has only forbidden addresses is refused, and nobody is asked", async () => {
    const asked: string[] = [];
    const port = await receiver((request, response) => {
      asked.push(request.url ?? "");
      response.end();
    });
    const guard = new WebhookGuard(NONE, answering(["127.0.0.1", "::1"]));
    expect(await post(`http://metrics.example.com:${port}/`, guard)).toContain("metrics.example.com is on this host");
    expect(asked).toEqual([]);
  });

  test("connects to the address that was checked: a name that answers otherwise the next time gains nothing", async () => {
    const asked: string[] = [];
    const port = await receiver((request, response) => {
      asked.push(request.headers.host ?? "");
      response.end();
    });
    let lookups = 0;
    const rebinding: Resolve = (_name, _options, callback) => {
      lookups += 1;
      // Permitted at first; a second lookup would find what is forbidden.
      callback(null, [{ address: lookups === 1 ? "127.0.0.1" : "10.0.0.1", family: 4 }]);
    };
    expect(await post(`http://rebind.example.com:${port}/`, new WebhookGuard(LOOPBACK, rebinding))).toBeUndefined();
    expect(asked).toEqual([`rebind.example.com:${port}`]);
    expect(lookups).toBe(1);
  });

  test("to a name with permitted and forbidden addresses goes to the permitted ones only", async () => {
    const port = await receiver((_request, response) => response.end());
    const guard = new WebhookGuard(LOOPBACK, answering(["10.0.0.1", "127.0.0.1", "fd00::1"]));
    expect(await post(`http://mixed.example.com:${port}/`, guard)).toBeUndefined();
    const found = await new Promise((resolve) => {
      guard.lookup("mixed.example.com", { all: true }, (_error, addresses) => resolve(addresses));
    });
    expect(found).toEqual([{ address: "127.0.0.1", family: 4 }]);
  });

  test("to an address that was allowed when it was added and is no more is refused", async () => {
    const port = await receiver((_request, response) => response.end());
    expect(await post(`http://127.0.0.1:${port}/`, new WebhookGuard(LOOPBACK))).toBeUndefined();
    expect(await post(`http://127.0.0.1:${port}/`, new WebhookGuard(NONE))).toContain("127.0.0.1 is on this host");
  });

  test("follows no redirect", async () => {
    const asked: string[] = [];
    const inner = await receiver((_request, response) => {
      asked.push("inner");
      response.end();
    });
    const port = await receiver((_request, response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${inner}/` }).end();
    });
    expect(await post(`http://127.0.0.1:${port}/`, new WebhookGuard(LOOPBACK))).toBe("the webhook answered 307");
    expect(asked).toEqual([]);
  });

  test("reads nothing of an answer that never ends", async () => {
    let isClosed = false;
    const port = await receiver((request, response) => {
      const flood = setInterval(() => response.write(Buffer.alloc(65_536)), 1);
      request.socket.on("close", () => {
        clearInterval(flood);
        isClosed = true;
      });
    });
    expect(await post(`http://127.0.0.1:${port}/`, new WebhookGuard(LOOPBACK))).toBeUndefined();
    await eventually("the connection is closed", () => isClosed);
  });

  test("says of a failure what went wrong, and never the URL, which may hold a secret", async () => {
    const url = "http://user:s3cret@127.0.0.1:1/services/s3cret?token=s3cret";
    const problem = await post(url, new WebhookGuard(LOOPBACK));
    expect(problem).toContain("ECONNREFUSED");
    expect(problem).not.toContain("s3cret");
  });
});

function post(url: string, guard: WebhookGuard): Promise<string | undefined> {
  return postAlert({ url, id: "flagback-1", body: "{}" }, guard, new AbortController().signal);
}

function answering(addresses: readonly string[]): Resolve {
  return (_name, _options, callback) => {
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
}

async function receiver(handle: RequestListener): Promise<number> {
  const server = createServer((request, response) => {
    request.resume();
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
