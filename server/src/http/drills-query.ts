/**
 * What belongs to drills is listed where it is asked for, and else left out.
 */
import { isDrillName } from "@flagback/schemas";
import * as z from "zod";

export const DrillsQuery = z.object({ drills: z.enum(["true", "false"]).default("false") });
type DrillsQuery = z.infer<typeof DrillsQuery>;

export function listed<Item>(items: Iterable<Item>, nameOf: (item: Item) => string, { drills }: DrillsQuery): Item[] {
  return [...items].filter((item) => drills === "true" || !isDrillName(nameOf(item)));
}
