import { describe, expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "./fake-io.ts";
import { changeAnswer, fakeServer, problem } from "./fake-server.ts";

/** Port 9 is `discard`; nothing listens there on a test machine, and a refused connection is what we want. */
const NOBODY = "http://127.0.0.1:9";

describe("exit status", () => {
  test("is 0 when the server did it", async () => {
    const { url } = await fakeServer(() => changeAnswer("rolled back"));
    const io = fakeIo();
    expect(await runCli(["rollback", "support-agent", "--reason", "bad", "--url", url], io)).toBe(0);
    expect(io.written).toEqual({ stdout: "rolled back (revision 7)\n", stderr: "" });
  });

  test("is 1 when the server refused, with its words and its hint on standard error", async () => {
    const { url } = await fakeServer(() => problem(404, "alias_not_found", "There is no alias x.", "Apply it first."));
    const io = fakeIo();
    expect(await runCli(["get", "aliases", "x", "--url", url], io)).toBe(1);
    expect(io.written).toEqual({
      stdout: "",
      stderr: "error There is no alias x. [alias_not_found]\nhint  Apply it first.\n",
    });
  });

  test("is 1 for a code that only a newer server knows, and its words are kept", async () => {
    const { url } = await fakeServer(() => problem(409, "from_the_future", "Not yet.", "Wait."));
    const io = fakeIo();
    expect(await runCli(["runtimes", "--url", url], io)).toBe(1);
    expect(io.written.stderr).toContain("Not yet.");
  });

  test.each([
    { args: ["aply"], says: "Did you mean apply?" },
    { args: ["rollback", "a", "--reason", "x", "--jsn"], says: "Did you mean --json?" },
    { args: ["rollback", "a"], says: "'--reason <text>' not specified" },
    {
      args: ["get", "alias"],
      says: "Allowed choices are aliases, versions, kill-switches, flags, releases, feedback, incidents",
    },
    { args: ["audit", "--limit", "0"], says: "whole number from 1 to 1000" },
    { args: ["runtimes", "--url", "ftp://host"], says: "ftp://host is no http address" },
    { args: ["register", "a@1", "--label", "nonsense"], says: "--label nonsense has no key and value" },
    { args: ["register", "a@1", "--payload", "{oops"], says: "The payload is no JSON" },
    { args: ["diff", "-f", "missing.yaml"], says: "missing.yaml can't be read" },
  ])("is 2 for $args, which says $says", async ({ args, says }) => {
    const io = fakeIo();
    expect(await runCli(args, io)).toBe(2);
    expect(io.written.stderr).toContain(says);
    expect(io.written.stdout).toBe("");
  });

  test.each([{ args: [] }, { args: ["kill"] }])("is 2 without a command: $args shows the help", async ({ args }) => {
    const io = fakeIo();
    expect(await runCli(args, io)).toBe(2);
    expect(io.written.stderr).toContain("Usage: flagback");
  });

  test("is 3 when nobody answers", async () => {
    const io = fakeIo();
    expect(await runCli(["runtimes", "--url", NOBODY], io)).toBe(3);
    expect(io.written.stderr).toContain(`No flagback server answers at ${NOBODY}`);
    expect(io.written.stderr).toContain("flagback serve");
  });

  test("is 3 when something else than flagback answers", async () => {
    const { url } = await fakeServer(() => ({ type: "text/html", body: "<h1>It works!</h1>" }));
    const io = fakeIo();
    expect(await runCli(["runtimes", "--url", url], io)).toBe(3);
    expect(io.written.stderr).toContain("text/html");
  });

  test("is 0 for --help of every command", async () => {
    const io = fakeIo();
    expect(await runCli(["--help"], io)).toBe(0);
    const listed = io.written.stdout.split("Commands:")[1] ?? "";
    const names = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map((match) => match[1] ?? "");
    expect(names.length).toBeGreaterThan(15);
    for (const name of names.filter((each) => each !== "help")) {
      const one = fakeIo();
      expect(await runCli([name, "--help"], one)).toBe(0);
      expect(one.written.stdout).toContain(`Usage: flagback ${name}`);
    }
  });
});

describe("--json", () => {
  test("puts one JSON value on standard output and nothing else", async () => {
    const { url } = await fakeServer(() => changeAnswer("done"));
    const io = fakeIo();
    await runCli(["stop", "--reason", "fire", "--json", "--url", url], io);
    expect(io.written.stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(io.written.stdout)).toMatchObject({ revision: 7, change: { summary: "done" } });
    expect(io.written.stderr).toBe("");
  });

  test.each([
    { args: ["runtimes", "--url", NOBODY], code: "unreachable", status: 503 },
    { args: ["runtimes", "--nonsense"], code: "usage", status: 400 },
  ])("puts the error as one problem document on standard error: $code", async ({ args, code, status }) => {
    const io = fakeIo();
    await runCli([...args, "--json"], io);
    expect(io.written.stdout).toBe("");
    expect(JSON.parse(io.written.stderr)).toMatchObject({ code, status });
  });
});
