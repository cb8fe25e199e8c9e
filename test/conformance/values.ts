/**
 * Values as scenarios write them: text, with the type said beside it.
 */
import type { FlagValue } from "@openfeature/server-sdk";
import type { FlagType } from "./world.ts";

const FLAG_TYPES: readonly FlagType[] = ["boolean", "string", "integer", "float", "object"];

/** @throws for a type that the specification does not have */
export function flagType(text: string): FlagType {
  const type = FLAG_TYPES.find((known) => known === text.toLowerCase());
  if (!type) throw new Error(`${text} is no type of a flag`);
  return type;
}

/** @throws where the text is no such value */
export function parseValue(type: FlagType, text: string): FlagValue {
  switch (type) {
    case "boolean":
      if (text !== "true" && text !== "false") throw new Error(`${text} is no boolean`);
      return text === "true";
    case "string":
      return text;
    case "integer":
    case "float": {
      const number = Number(text);
      if (text.trim() === "" || Number.isNaN(number)) throw new Error(`${text} is no number`);
      if (type === "integer" && !Number.isInteger(number)) throw new Error(`${text} is no integer`);
      return number;
    }
    case "object":
      return JSON.parse(text.replaceAll('\\"', '"'));
  }
}
