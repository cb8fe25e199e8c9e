/**
 * What a person should read about a socket that ended, and what makes two ends the same problem.
 */
import { SUBPROTOCOL } from "@flagback/schemas";
import type { SocketEnd } from "./state.ts";

export interface Problem {
  /** Ends with the same key are told once. */
  readonly key: string;
  readonly message: string;
}

/** The close code of a connection that ended without a close frame (RFC 6455, section 7.4.1): it says nothing. */
const ABNORMAL_CLOSURE = 1006;
/** How Node names a certificate that it does not trust (`tls`, "X509 certificate error codes"). */
const UNTRUSTED_CERTIFICATE =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;
/** What `ws` says where the server takes the upgrade and not our subprotocol. */
const OTHER_SUBPROTOCOL = /^Server sent (an invalid|no) subprotocol$/;

export function describeEnd(end: SocketEnd): Problem {
  const { httpStatus, code, detail } = end;
  const kind = httpStatus ?? (code === undefined || code === ABNORMAL_CLOSURE ? detail.slice(0, 80) : code);
  return { key: `connection.${kind}`, message: `${causeOf(end)}; trying on${adviceFor(end)}` };
}

function causeOf({ httpStatus, detail }: SocketEnd): string {
  if (httpStatus !== undefined) return `the server answers ${httpStatus} instead of opening the stream`;
  if (UNTRUSTED_CERTIFICATE.test(detail)) return `the server's certificate is not trusted (${detail})`;
  if (OTHER_SUBPROTOCOL.test(detail)) return `the server speaks another protocol than ${SUBPROTOCOL} (${detail})`;
  return `no connection to the server (${detail})`;
}

function adviceFor({ httpStatus, detail }: SocketEnd): string {
  if (UNTRUSTED_CERTIFICATE.test(detail)) {
    return ". Start the process with NODE_EXTRA_CA_CERTS naming its CA, or check the url";
  }
  if (OTHER_SUBPROTOCOL.test(detail))
    return ". Is it newer than this provider, or is the url not that of a flagback server?";
  if (httpStatus === undefined || httpStatus >= 500 || httpStatus === 429) return "";
  return ". Does a proxy answer, or is the url not that of a flagback server?";
}
