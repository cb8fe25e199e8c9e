/** A server's state before its first command. */
import type { World } from "@flagback/core";

export const EMPTY_WORLD: World = {
  aliases: new Map(),
  versions: new Map(),
  killSwitches: new Map(),
  flags: new Map(),
  decisions: new Map(),
  incidents: new Map(),
  triggers: new Map(),
  asked: new Map(),
  releases: new Map(),
};
