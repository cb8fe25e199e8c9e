/**
 * What an alias demands of the payloads of its versions, so that old and new code can read each of them.
 */
import * as z from "zod";
import { MAX_PAYLOAD_SCHEMA_BYTES } from "./limits.ts";
import { Json } from "./primitives.ts";

/** OpenFeature's types of a flag's value. */
export const PAYLOAD_TYPES = ["boolean", "string", "number", "object"] as const;

/** A JSON Schema of draft 2020-12, or of draft 7 where its `$schema` says so. It refers to nothing outside of itself. */
export const JsonSchema = z.record(z.string(), Json).superRefine((schema, context) => {
  const bytes = new TextEncoder().encode(JSON.stringify(schema)).length;
  if (bytes <= MAX_PAYLOAD_SCHEMA_BYTES) return;
  context.addIssue({ code: "custom", message: `has ${bytes} bytes; ${MAX_PAYLOAD_SCHEMA_BYTES} is the limit` });
});

export type JsonSchema = z.infer<typeof JsonSchema>;

/** A type's name, or a JSON Schema. */
export const PayloadSchema = z.union([z.enum(PAYLOAD_TYPES), JsonSchema]);
export type PayloadSchema = z.infer<typeof PayloadSchema>;
