/**
 * Records that may hold so many keys and no more.
 */
import * as z from "zod";
import { isContainer } from "./primitives.ts";

/**
 * The record, refused before any of its keys is looked at where there are too many: zod asks a record's own checks last, when
 * each of a hundred thousand keys has been walked and has an issue of its own.
 *
 * @param what the keys' name in the plural
 */
export function few<Fields extends z.ZodRecord>(record: Fields, max: number, what: string) {
  return z
    .preprocess((value, context) => {
      if (!isContainer(value) || Object.keys(value).length <= max) return value;
      context.addIssue(`at most ${max} ${what}`);
      return z.NEVER;
    }, record)
    .meta({ maxProperties: max });
}
