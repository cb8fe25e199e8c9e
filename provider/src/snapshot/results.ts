/**
 * Resolutions that are made once and handed out many times: frozen, behind a promise that is already settled.
 */
import { ErrorCode, type FlagMetadata, type JsonValue, type ResolutionDetails } from "@openfeature/core";

export type Resolution<T> = Promise<ResolutionDetails<T>>;

/** A resolution to hand out again and again. Its value is frozen through and through: many callers share it. */
export function settled<T>(details: ResolutionDetails<T>): Resolution<T> {
  if (details.flagMetadata) Object.freeze(details.flagMetadata);
  return Promise.resolve(Object.freeze({ ...details, value: deepFreeze(details.value) }));
}

/** The caller's default with an error code (spec 2.2.7); the SDK keeps the metadata of a returned error. */
export function failed<T>(
  defaultValue: T,
  errorCode: ErrorCode,
  errorMessage: string,
  flagMetadata?: FlagMetadata,
): Resolution<T> {
  const details: ResolutionDetails<T> = { value: defaultValue, reason: "ERROR", errorCode, errorMessage };
  return Promise.resolve(flagMetadata ? { ...details, flagMetadata } : details);
}

/** Asked for as another type than the flag has (spec 2.2.7, TYPE_MISMATCH). */
export function mismatched<T>(key: string, is: string, defaultValue: T, flagMetadata?: FlagMetadata): Resolution<T> {
  return failed(
    defaultValue,
    ErrorCode.TYPE_MISMATCH,
    `${key} is ${is} and was read as a ${typeof defaultValue}`,
    flagMetadata,
  );
}

export function isJsonObject(value: JsonValue): value is Exclude<JsonValue, string | number | boolean | null> {
  return typeof value === "object" && value !== null;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
