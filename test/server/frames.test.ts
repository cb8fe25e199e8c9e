import { expect, test } from "vitest";
import type { Engine } from "../../server/src/engine/engine.ts";
import { Frames } from "../../server/src/stream/frames.ts";
import { textFrame, textOf } from "../../server/src/stream/text-frame.ts";

/** Nothing is registered; only the head moves. */
function engineAt(head: { revision: number }): Engine {
  const world = { aliases: new Map(), versions: new Map(), killSwitches: new Map(), flags: new Map() };
  const history = {
    epoch: "e",
    get head() {
      return { revision: head.revision, mark: "0".repeat(16) };
    },
    touchedSince: () => [],
  };
  // All that frames read of an engine.
  return { world, history } as unknown as Engine;
}

test("sessions that need the same step share one encoding", () => {
  const frames = new Frames(engineAt({ revision: 5 }));

  expect(frames.since(3, [])).toBe(frames.since(3, []));
});

test("a step that was encoded for an older head is not sent for a newer one, whatever was asked for in between", () => {
  const head = { revision: 5 };
  const frames = new Frames(engineAt(head));
  const scope: string[] = [];
  const revisionOf = (frame: Buffer) => JSON.parse(textOf(frame).toString()).revision;
  expect(revisionOf(frames.since(3, scope))).toBe(5);

  head.revision = 6;
  frames.snapshot(scope);

  expect(revisionOf(frames.since(3, scope))).toBe(6);
});

test("the text of a frame is found behind its header, at every length that changes it", () => {
  for (const length of [0, 125, 126, 65_535, 65_536]) {
    const text = "x".repeat(length);
    expect(textOf(textFrame(text)).toString()).toBe(text);
  }
});
