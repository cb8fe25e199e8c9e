/**
 * Shows that a test would notice if a safeguard were gone: the same scenario runs against the product as it is, and against
 * a copy of it, loaded for that test alone, in which one exported function does nothing.
 */
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";

/**
 * Acts on a real server, and answers the assertion about what it saw. It must come to its end with and without the
 * safeguard, so that nothing but the assertion can tell the difference.
 */
export type Scenario = () => Promise<() => void>;

/** What prevents a mistake, and how to take it away. */
export interface Safeguard {
  /** Path of the module from the repository's root. */
  readonly module: string;
  readonly replace: (original: object) => object;
}

export interface Mistake {
  /** In the seed's words. */
  readonly mistake: string;
  readonly scenario: Scenario;
  readonly safeguard: Safeguard;
}

/** `replace` answers the module's exports that are different without the safeguard. */
export function without<Module extends object>(
  module: string,
  replace: (original: Module) => Partial<Module>,
): Safeguard {
  // What is loaded from the path is what the caller names as its type.
  return { module, replace: (original) => replace(original as Module) };
}

/**
 * Two tests for each mistake.
 * @param reload loads the mistakes' own file once more, and with it the product
 */
export function preventedMistakes(
  mistakes: readonly Mistake[],
  reload: () => Promise<{ readonly MISTAKES: readonly Mistake[] }>,
): void {
  describe.each(mistakes)("$mistake", ({ mistake, scenario, safeguard }) => {
    test("does not happen", async () => {
      const assertion = await scenario();
      assertion();
    });

    test(`happens without its safeguard in ${safeguard.module}, and the assertion fails`, async () => {
      takeAway(safeguard);
      const again = (await reload()).MISTAKES.find((each) => each.mistake === mistake);
      if (!again) throw new Error(`the file that was loaded anew does not know "${mistake}"`);
      expectToFail(await again.scenario());
    });
  });
}

/** From here on, modules that are imported anew meet what stands in the safeguard's place; until the test ends. */
export function takeAway({ module, replace }: Safeguard): void {
  const path = fileURLToPath(new URL(`../../${module}`, import.meta.url));
  vi.resetModules();
  vi.doMock(path, async (importOriginal) => {
    const original = await importOriginal<object>();
    return { ...original, ...replace(original) };
  });
  onTestFinished(() => {
    vi.doUnmock(path);
    vi.resetModules();
  });
}

/** The assertion fails, and not by an accident on the way to it. */
export function expectToFail(assertion: () => void): void {
  expect(assertion).toThrow(expect.objectContaining({ name: "AssertionError" }));
}
