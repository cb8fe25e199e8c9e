/** A webhook that never answers costs its own alerts, not the others'. */
import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { eventually, testServer } from "../support/server.ts";

test("an alert for a healthy webhook arrives while another webhook hangs, and a stopping server does not wait for that one", async () => {
  const hung: string[] = [];
  const told: string[] = [];
  const server = await testServer();
  await server.call("POST", "/v1/webhooks", { url: await webhook((body) => void hung.push(body)) });
  await server.call("POST", "/v1/stop", { reason: "first" });
  await eventually("the hanging webhook is asked", () => hung.length === 1);
  const respond = (body: string, end: () => void) => {
    told.push(body);
    end();
  };
  await server.call("POST", "/v1/webhooks", { url: await webhook(respond) });
  await server.call("POST", "/v1/kill-switches/writes_disabled/release", { reason: "x" });
  await server.call("POST", "/v1/stop", { reason: "second" });
  await eventually("the healthy webhook is told", () => told.length === 1);
  expect(JSON.parse(told[0] ?? "")).toMatchObject({ kind: "stop", text: expect.stringContaining("reason=second") });
  expect(hung).toHaveLength(1);
  await server.close();
});

async function webhook(handle: (body: string, end: () => void) => void): Promise<string> {
  const receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => handle(text, () => response.end()));
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  return `http://127.0.0.1:${(receiver.address() as { port: number }).port}/hook`;
}
