/** Each common mistake of the seed on rollback strategies is prevented, and without its safeguard a test says so. */
import { preventedMistakes } from "./safeguard.ts";
import { MISTAKES } from "./strategies.ts";

preventedMistakes(MISTAKES, () => import("./strategies.ts"));
