/**
 * A list without repeats whose items know that they are in it: cheaper than a `Set` where the same few are added a million
 * times. An item is in one list of its kind at a time, the one that it was last added to.
 */
export class Marked<Item extends { markedIn?: object }> {
  readonly items: Item[] = [];

  add(item: Item): void {
    if (item.markedIn === this) return;
    item.markedIn = this;
    this.items.push(item);
  }
}
