/**
 * Headers of every answer, also of those that no route gave. What the API answers is data for programs: a browser must
 * not run, frame, guess at or keep any of it.
 */
export const SECURE_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cache-control": "no-store",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Two years, as browsers ask for. Only where we end TLS ourselves; behind a proxy it is the proxy's to say. */
export const TLS_HEADERS: Readonly<Record<string, string>> = {
  ...SECURE_HEADERS,
  "strict-transport-security": "max-age=63072000",
};
