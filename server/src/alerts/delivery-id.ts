/**
 * What a receiver knows an alert by: `webhook-id`, the same at each attempt.
 */

export function deliveryId(row: number): string {
  return `flagback-${row}`;
}

/** The outbox's row that an id names; `undefined` where it is no such id. */
export function rowOfDelivery(id: string): number | undefined {
  const [, row] = /^flagback-(\d{1,15})$/.exec(id) ?? [];
  return row === undefined ? undefined : Number(row);
}
