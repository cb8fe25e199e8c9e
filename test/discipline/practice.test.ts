/** Each common mistake of the seed on rollback discipline is prevented, and without its safeguard a test says so. */
import { MISTAKES } from "./practice.ts";
import { preventedMistakes } from "./safeguard.ts";

preventedMistakes(MISTAKES, () => import("./practice.ts"));
