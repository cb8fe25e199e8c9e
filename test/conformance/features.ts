/**
 * Reads Gherkin and gives its cases: one for each scenario, and one for each row of an outline's examples.
 */
import { AstBuilder, compile, GherkinClassicTokenMatcher, Parser } from "@cucumber/gherkin";
import { IdGenerator, type Pickle, type PickleStep } from "@cucumber/messages";

export type Table = readonly (readonly string[])[];

export interface Step {
  readonly text: string;
  /** Rows of the table under the step; empty where there is none. */
  readonly table: Table;
}

export interface Case {
  readonly file: string;
  /** Of the scenario, or of the row of its examples. */
  readonly line: number;
  readonly name: string;
  /** Tags of the feature, the scenario and the examples, with their `@`. */
  readonly tags: ReadonlySet<string>;
  readonly steps: readonly Step[];
}

/** @throws where the text is no Gherkin */
export function casesOf(file: string, text: string): readonly Case[] {
  const newId = IdGenerator.incrementing();
  const document = new Parser(new AstBuilder(newId), new GherkinClassicTokenMatcher()).parse(text);
  return compile({ ...document, uri: file }, file, newId).map((pickle) => caseOf(file, pickle));
}

function caseOf(file: string, { name, location, tags, steps }: Pickle): Case {
  return {
    file,
    line: location?.line ?? 0,
    name,
    tags: new Set(tags.map((tag) => tag.name)),
    steps: steps.map(stepOf),
  };
}

function stepOf({ text, argument }: PickleStep): Step {
  const rows = argument?.dataTable?.rows ?? [];
  return { text, table: rows.map((row) => row.cells.map((cell) => cell.value)) };
}
