/**
 * Where the demo's words go: lines that stay, and one view that is redrawn in a terminal and repeated once a second
 * elsewhere.
 */
import type { Io, Sink } from "../cli/io.ts";
import { type Paint, painter } from "../cli/text.ts";
import { dashboard, dashboardLine, type View } from "./dashboard.ts";

export interface Display {
  readonly paint: Paint;
  /** Lines that stay. */
  say(...lines: readonly string[]): void;
  /** The view of now. */
  show(view: View): void;
  /** Leaves the last view where it is. */
  settle(): void;
}

/** Without a terminal, at most one line in this time. */
const LINE_EVERY_MS = 1_000;
const CURSOR_UP = (lines: number) => `\u001b[${lines}A`;
const CLEAR_BELOW = "\u001b[0J";

export function openDisplay(sink: Sink, env: Io["env"]): Display {
  const paint = painter(sink, env);
  return sink.isTty && env.TERM !== "dumb" ? terminalDisplay(sink, paint) : lineDisplay(sink, paint);
}

function terminalDisplay(sink: Sink, paint: Paint): Display {
  let drawnLines = 0;
  let drawn = "";
  /** Lines that stay above the view, and the view; in one write, so that nothing flickers. */
  const redraw = (above: string, view: string) => {
    const erase = drawnLines > 0 ? `${CURSOR_UP(drawnLines)}\r${CLEAR_BELOW}` : "";
    sink.write(`${erase}${above}${view}`);
    drawn = view;
    drawnLines = view.split("\n").length - 1;
  };
  return {
    paint,
    say(...lines) {
      redraw(lines.map((line) => `${line}\n`).join(""), drawn);
    },
    show(view) {
      // A line that wraps would be two lines for the cursor.
      const text = ["", ...dashboard(view, paint)].map((line) => cutTo(line, sink.columns)).join("\n");
      redraw("", `${text}\n`);
    },
    settle() {
      drawnLines = 0;
      drawn = "";
    },
  };
}

function lineDisplay(sink: Sink, paint: Paint): Display {
  let lastMs = Number.NEGATIVE_INFINITY;
  return {
    paint,
    say(...lines) {
      for (const line of lines) sink.write(`${line}\n`);
    },
    show(view) {
      if (view.elapsedMs - lastMs < LINE_EVERY_MS) return;
      lastMs = view.elapsedMs;
      sink.write(`${dashboardLine(view)}\n`);
    },
    settle() {},
  };
}

/** Cuts a line to the terminal's width; colour codes take no room, and are closed. */
function cutTo(line: string, columns: number): string {
  let room = columns - 1;
  let fitted = "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with the escape character
  for (const piece of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (piece.startsWith("\u001b")) {
      fitted += piece;
    } else {
      fitted += piece.slice(0, room);
      room = Math.max(0, room - piece.length);
    }
  }
  return fitted;
}
