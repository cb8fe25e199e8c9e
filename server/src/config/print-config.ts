/**
 * A configuration as YAML that means the same to every reader, and that people can review line by line.
 */
import type { ConfigInput } from "@flagback/schemas";
import { Document, Scalar, visit } from "yaml";

export function printConfig(config: ConfigInput): string {
  const document = new Document(config, {
    // What YAML 1.1 would read as something else (no, 1_000, 2026-01-31) is quoted, too.
    compat: "yaml-1.1",
    // Equal parts are written out, so that one can be changed without the other.
    aliasDuplicateObjects: false,
  });
  visit(document, {
    Scalar(_index, scalar) {
      if (typeof scalar.value === "string" && scalar.value.includes("\n") && !isPlainLines(scalar.value)) {
        scalar.type = Scalar.QUOTE_DOUBLE;
      }
    },
  });
  // A long line stays one: where it is folded, a changed word moves all that follow.
  return document.toString({ lineWidth: 0, blockQuote: "literal", doubleQuotedAsJSON: true });
}

/** What can be written as a block of lines: no white space that an editor, or a reader of YAML, would take away. */
function isPlainLines(text: string): boolean {
  return /^\S/.test(text) && !/[ \t](\n|$)/.test(text) && !text.endsWith("\n\n");
}
