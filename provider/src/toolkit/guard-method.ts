/**
 * Guards a tool by the method that frameworks call: the same tool with that method wrapped.
 */
import { type Guard, type GuardedCall, guardedCall } from "./guarded-call.ts";
import type { LiveRun } from "./run.ts";
import { type SignalPlace, withSignal } from "./run-signal.ts";
import { currentLiveRun } from "./with-run.ts";

type Method = (...args: unknown[]) => unknown;

export interface GuardedMethod extends Omit<GuardedCall, "call"> {
  readonly method: string;
  /** Where the method takes a signal, if it does. */
  readonly signal?: SignalPlace;
}

/** What was wrapped, by the method that stands in its place: a tool that is guarded twice asks and counts once. */
const wrapped = new WeakMap<object, { readonly original: object; readonly isWrite: boolean }>();

/** Whether a tool's method is guarded already; as a write where it is asked for one. */
export function isGuarded(tool: object, method: string, isWrite: boolean): boolean {
  const earlier = earlierGuard(tool, method);
  return earlier !== undefined && (earlier.isWrite || !isWrite);
}

/** A copy with the method wrapped that has everything else of the tool, also what it inherits. The tool itself stays. */
export function guardMethod<Tool extends object>(tool: Tool, guard: Guard, guarded: GuardedMethod): Tool {
  const { method } = guarded;
  if (isGuarded(tool, method, guard.isWrite)) return tool;
  const original = earlierGuard(tool, method)?.original ?? tool;
  const value = wrap(original, guard, guarded);
  wrapped.set(value, { original, isWrite: guard.isWrite });
  return copyWith(tool, method, value);
}

/** A copy that differs in one property. */
export function copyWith<Value extends object>(value: Value, property: string, replacement: unknown): Value {
  return Object.create(Object.getPrototypeOf(value), {
    ...Object.getOwnPropertyDescriptors(value),
    [property]: { value: replacement, enumerable: true, configurable: true, writable: true },
  });
}

export function methodOf(tool: unknown, method: string): Method | undefined {
  if (typeof tool !== "object" || tool === null) return undefined;
  const value: unknown = Reflect.get(tool, method);
  return typeof value === "function" ? (value as Method) : undefined;
}

function earlierGuard(tool: object, method: string) {
  const value = methodOf(tool, method);
  return value && wrapped.get(value);
}

function wrap(tool: object, guard: Guard, { method, signal: place, ...rest }: GuardedMethod): Method {
  const original = methodOf(tool, method);
  const makeCall = (args: unknown[], run: LiveRun | undefined, denied: () => unknown) => {
    const call = (signal: AbortSignal | undefined) =>
      original?.apply(tool, place ? withSignal(args, place, signal) : args);
    return guardedCall(guard, { ...rest, call, denied }, run);
  };
  if (!isAsyncGeneratorFunction(original)) return (...args) => makeCall(args, currentLiveRun(), rest.denied);
  // The body of an async generator begins when the first item is asked for, and so must the question whether it may.
  return (...args) => itemsOf(args, currentLiveRun());

  async function* itemsOf(args: unknown[], run: LiveRun | undefined) {
    return yield* makeCall(args, run, () => onlyItem(rest.denied())) as AsyncIterable<unknown>;
  }
}

/** Frameworks differ in whether the last item is the result or what the generator returns. */
async function* onlyItem(item: unknown) {
  yield item;
  return item;
}

function isAsyncGeneratorFunction(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object AsyncGeneratorFunction]";
}
