import type { Delta, RuntimeDocument, Snapshot } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Entry, HeldSnapshot } from "../../provider/src/snapshot/snapshot.ts";
import { alias, flag, killSwitch } from "./documents.ts";

const HISTORY = { epoch: "0".repeat(32), mark: "0".repeat(16) };

const snapshot = (revision: number, ...documents: RuntimeDocument[]): Snapshot => ({
  type: "snapshot",
  ...HISTORY,
  revision,
  documents,
});

const delta = (revision: number, change: Partial<Pick<Delta, "put" | "delete">>): Delta => ({
  type: "delta",
  from: revision - 1,
  mark: HISTORY.mark,
  revision,
  put: [],
  delete: [],
  ...change,
});

function held(...documents: RuntimeDocument[]): HeldSnapshot {
  const made = new HeldSnapshot();
  made.swap(snapshot(1, ...documents));
  return made;
}

const documentOf = (entry: Entry | undefined) => entry?.document;

describe("what a provider holds", () => {
  const keys = ["a", "b", "c"];
  const document = fc
    .record({
      key: fc.constantFrom(...keys),
      kind: fc.constantFrom("alias", "killSwitch", "flag"),
      revision: fc.nat(3),
    })
    .map(({ key, kind, revision }): RuntimeDocument => {
      switch (kind) {
        case "alias":
          return alias({ key, revision });
        case "killSwitch":
          return { ...killSwitch("*"), key, revision };
        default:
          return { ...flag(key, {}), revision };
      }
    });
  const documents = fc.uniqueArray(document, { selector: ({ key }) => key });

  test("is the last state of the server, whatever was sent and read on the way there", () => {
    const step = fc.record({ documents, isDelta: fc.boolean(), read: fc.array(fc.constantFrom(...keys)) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
        const provider = new HeldSnapshot();
        let server: readonly RuntimeDocument[] = [];
        for (const [i, { documents, isDelta, read }] of steps.entries()) {
          const gone = server.filter(
            ({ key, kind }) => !documents.some((each) => each.key === key && each.kind === kind),
          );
          const change = { put: documents, delete: gone.map(({ kind, key }) => ({ kind, key })) };
          provider.swap(isDelta ? delta(i + 1, change) : snapshot(i + 1, ...documents));
          server = documents;
          for (const key of read)
            expect(documentOf(provider.entry(key))).toEqual(server.find((each) => each.key === key));
        }
        expect(provider.revision).toBe(steps.length);
        for (const key of keys)
          expect(documentOf(provider.entry(key))).toEqual(server.find((each) => each.key === key));
      }),
    );
  });

  test("is nothing before the first snapshot", () => {
    const provider = new HeldSnapshot();
    expect(provider.revision).toBeNull();
    expect(provider.entry("a")).toBeUndefined();
  });

  test("keeps the entries of documents that a change or a new snapshot leaves alone", () => {
    const provider = held(alias(), killSwitch(), flag("banner", {}));
    const [banner, agent] = [provider.entry("banner"), provider.entry("support-agent")];

    expect(provider.swap(delta(2, { put: [killSwitch("*")] }))).toEqual(["writes_disabled"]);
    expect(provider.entry("banner")).toBe(banner);

    const { onLeaseLapse, ...rest } = alias();
    expect(provider.swap(snapshot(3, flag("banner", {}), killSwitch("*"), { onLeaseLapse, ...rest }))).toEqual([]);
    expect(provider.entry("banner")).toBe(banner);
    expect(provider.entry("support-agent")).toBe(agent);
  });

  test("renders a document again that differs in whatever detail", () => {
    const provider = held(alias(), flag("banner", {}));
    const { versions } = alias();
    const [[id, version], ...others] = Object.entries(versions) as [[string, (typeof versions)[string]], ...[]];
    const payload = { prompt: "old", tools: ["search"] };
    const changed = alias({ versions: Object.fromEntries([[id, { ...version, payload }], ...others]) });

    expect(provider.swap(snapshot(1, changed, flag("banner", { defaultVariant: "off" })))).toEqual([
      "support-agent",
      "banner",
    ]);
    expect(documentOf(provider.entry("support-agent"))).toEqual(changed);
  });

  test("names what went away with a new snapshot", () => {
    const provider = held(alias(), flag("banner", {}));
    expect(provider.swap(snapshot(2, alias()))).toEqual(["banner"]);
    expect(provider.entry("banner")).toBeUndefined();
  });
});
