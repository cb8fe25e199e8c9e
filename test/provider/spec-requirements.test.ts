/**
 * Every requirement of the OpenFeature specification 0.9 in sections 2 (providers), 5 (events) and 6 (tracking): what it
 * asks for, in our words, and where it does not fall on a server-side provider, on whom it does. Each of ours is the
 * beginning of a test's title, so that a requirement without a test shows.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

/** Whose the requirements are that are not a provider's. */
type Elsewhere =
  | "the SDK"
  | "the SDK's interface"
  | "providers of the static-context paradigm"
  | "domain-scoped providers";

interface Requirement {
  readonly asks: string;
  readonly fallsOn?: Elsewhere;
}

const REQUIREMENTS: Readonly<Record<string, Requirement>> = {
  "2.1.1": { asks: "metadata with the provider's name" },
  "2.2.1": { asks: "resolvers that take a key, a default and perhaps a context, and answer details" },
  "2.2.2.1": { asks: "a resolver for each type" },
  "2.2.3": { asks: "the value" },
  "2.2.4": { asks: "the variant" },
  "2.2.5": { asks: "the reason" },
  "2.2.6": { asks: "no error code where nothing failed" },
  "2.2.7": { asks: "an error code where something did" },
  "2.2.8.1": { asks: "details of the value's type" },
  "2.2.9": { asks: "flag metadata" },
  "2.2.10": { asks: "metadata of booleans, texts and numbers under text keys" },
  "2.3.1": { asks: "a way for a provider to bring hooks; ours brings none", fallsOn: "the SDK's interface" },
  "2.3.2": { asks: "no error message where nothing failed" },
  "2.3.3": { asks: "perhaps a message where something did" },
  "2.4.1": { asks: "perhaps an initialize, given the global context and a domain" },
  "2.4.2.1": { asks: "an initialize that fails where it can't get ready, fatally where nothing can help" },
  "2.4.3": { asks: "perhaps a declaration that the provider belongs to one domain" },
  "2.4.4": { asks: "that a provider of one domain takes it in initialize", fallsOn: "domain-scoped providers" },
  "2.5.1": { asks: "perhaps a way to shut down" },
  "2.5.2": { asks: "the uninitialised state after a shutdown" },
  "2.5.3": { asks: "a shutdown that is harmless twice" },
  "2.6.1": { asks: "perhaps an answer to a changed context", fallsOn: "providers of the static-context paradigm" },
  "2.7.1": { asks: "perhaps a function for tracking" },
  "2.8.1": { asks: "an event for each change of status" },
  "2.8.2": { asks: "READY before initialize ends well" },
  "2.8.3": { asks: "ERROR before initialize fails" },
  "2.8.4": { asks: "an event after a changed context", fallsOn: "providers of the static-context paradigm" },
  "2.8.5.1": { asks: "READY for a provider that has no initialize", fallsOn: "the SDK" },
  "5.1.1": { asks: "a way to signal ready, error, configuration changed and stale, with details" },
  "5.1.2": { asks: "handlers of the provider's clients and of the API that run", fallsOn: "the SDK" },
  "5.1.3": { asks: "handlers of other providers' clients that do not", fallsOn: "the SDK" },
  "5.1.4": { asks: "a message in error events" },
  "5.1.5": { asks: "an error code in error events" },
  "5.2.1": { asks: "handlers on a client", fallsOn: "the SDK" },
  "5.2.2": { asks: "handlers on the API", fallsOn: "the SDK" },
  "5.2.3": { asks: "the provider's name in what handlers get", fallsOn: "the SDK" },
  "5.2.4": { asks: "handlers that take details", fallsOn: "the SDK" },
  "5.2.5": { asks: "that a handler that throws stops no other", fallsOn: "the SDK" },
  "5.2.6": { asks: "handlers that outlive a change of provider", fallsOn: "the SDK" },
  "5.2.7": { asks: "a way to remove handlers", fallsOn: "the SDK" },
  "5.3.1": { asks: "READY handlers that run when initialize ends well" },
  "5.3.2": { asks: "ERROR handlers that run when it fails" },
  "5.3.3": { asks: "handlers that run at once where their state is there already", fallsOn: "the SDK" },
  "5.3.4.1": { asks: "perhaps an event before a changed context", fallsOn: "providers of the static-context paradigm" },
  "5.3.4.2": { asks: "handlers after a changed context", fallsOn: "providers of the static-context paradigm" },
  "5.3.4.3": { asks: "ERROR handlers after a failed one", fallsOn: "providers of the static-context paradigm" },
  "5.3.5": { asks: "a status that follows the events, before the handlers run", fallsOn: "the SDK" },
  "6.1.1.1": { asks: "a client's function for tracking, with a context", fallsOn: "the SDK" },
  "6.1.2.1": { asks: "one without a context", fallsOn: "providers of the static-context paradigm" },
  "6.1.3": { asks: "the merged context for the provider's function" },
  "6.1.4": { asks: "that tracking what nobody tracks does nothing" },
  "6.2.1": { asks: "a numeric value in the details" },
  "6.2.2": { asks: "custom fields in the details" },
};

const FOLDER = new URL(".", import.meta.url);

/** Numbers that titles of tests begin with, such as `2.5.1, 2.5.3: sends what waits`. */
const titled = new Set(
  readdirSync(FOLDER)
    .filter((file) => file.endsWith(".test.ts"))
    .flatMap((file) => {
      const tests = readFileSync(new URL(file, FOLDER), "utf8").matchAll(/\btest\(\s*"([\d.]+(?:, [\d.]+)*): /g);
      return [...tests].flatMap(([, numbers = ""]) => numbers.split(", "));
    }),
);

describe("a requirement of the specification", () => {
  const ours = Object.entries(REQUIREMENTS).filter(([, { fallsOn }]) => fallsOn === undefined);

  test.each(ours)("%s has a test that is named after it", (number) => {
    expect(titled).toContain(number);
  });

  test("that a test is named after is one of ours", () => {
    expect([...titled].filter((number) => !ours.some(([known]) => known === number))).toEqual([]);
  });

  test("is one of section 2, 5 or 6", () => {
    for (const number of Object.keys(REQUIREMENTS)) expect(number).toMatch(/^[256](\.\d+){2,3}$/);
  });
});
