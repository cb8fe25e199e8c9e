/**
 * Why `initialize` rejects. None of them ends the attempts but a close; where the options can't be used there are none.
 */
import { FlagbackError } from "@flagback/schemas";
import { ProviderFatalError } from "@openfeature/core";

/**
 * Fatal, as bad credentials are by the specification (2.4.2.1), unless something is held: the SDK asks a FATAL provider
 * for nothing. READY by event ends it either way.
 */
export function refused(httpStatus: number, isHoldingData: boolean): Error {
  const refusal = new FlagbackError({
    code: "unauthorized",
    message: `The server refuses the token (${httpStatus}).`,
    hint: "Pass a runtime token that is not revoked; 'flagback token' makes one. The provider tries on every few minutes.",
  });
  return isHoldingData ? refusal : new ProviderFatalError(`${refusal.message} ${refusal.hint}`, { cause: refusal });
}

/** Fatal (specification 2.4.2.1): only another provider, with other options, can get ready. */
export function unusableOptions(unusable: FlagbackError): Error {
  return new ProviderFatalError(`${unusable.message} ${unusable.hint}`, { cause: unusable });
}

export function unreachable(initTimeoutMs: number): FlagbackError {
  return new FlagbackError({
    code: "unreachable",
    message: `No snapshot and lease came from the server within ${initTimeoutMs} ms.`,
    hint: "Check the url and the server. The provider goes on connecting and says READY when it is.",
  });
}

export function closed(): FlagbackError {
  return new FlagbackError({
    code: "unreachable",
    message: "The provider was closed before it was ready.",
    hint: "Await setProviderAndWait before you replace or close the provider.",
  });
}
