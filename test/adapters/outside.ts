import { AsyncLocalStorage } from "node:async_hooks";
import { currentRun } from "@flagback/provider";

const snapshot = AsyncLocalStorage.snapshot();

/** Calls a function as code that is no part of the run would, such as the writer of an HTTP answer. */
export function outside<Result>(body: () => Result): Result {
  return snapshot(() => {
    if (currentRun() !== undefined) throw new Error("this is still inside of the run");
    return body();
  });
}
