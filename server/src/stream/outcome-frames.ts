/**
 * Reads the frames that come most often, batches of outcomes, from their bytes: in one walk, and without making a text again
 * that was made before. It reads JSON as `JSON.stringify` writes it, of fields with plain values in ASCII. All else, and what
 * the decoder refuses, is left to `decodeRuntimeFrame`, which has the last word and says why; a property test holds the two
 * together.
 */
import {
  type Assignment,
  type Fields,
  isStreamOutcome,
  MAX_BATCH_ASSIGNMENTS,
  MAX_BATCH_ITEMS,
  MAX_VERSION_ID_LENGTH,
  readAssignment,
  type StreamOutcome,
} from "@flagback/schemas";
import type { ReadBatch } from "../ledger/stream-counter.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** The characters between these, but for the quote and the backslash, stand for themselves in a JSON text. */
const [BEFORE_TEXT, AFTER_TEXT] = [0x1f, 0x7f];

/** Bytes that are looked for, as words of four: the last one overlaps the one before where they are no multiple of four. */
interface Token {
  readonly text: string;
  readonly length: number;
  readonly words: Int32Array;
}

const HEAD = tokenOf('{"type":"outcomes","seq":');
const ASSIGNED = tokenOf(',"assigned":');
const ITEMS = tokenOf(',"items":');

/** With so few digits a decimal is an exact integer over an exact power of ten, and their quotient is rounded once, as it should be. */
const MAX_EXACT_DIGITS = 15;
const POWERS_OF_TEN = Array.from({ length: MAX_EXACT_DIGITS + 1 }, (_, power) => 10 ** power);
/** RFC 8259, section 6. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** No number that JavaScript writes is longer. */
const MAX_NUMBER_LENGTH = 32;

const ASSIGNMENT_KEYS = keysOf(["alias", "version", "revision", "n"]);
/** In the order in which a provider writes them, so that after one nearly always the next one here comes. */
const OUTCOME_FIELDS = [
  ...["runId", "alias", "version", "arm", "status", "durationMs", "errorType", "errorOrigin"],
  ...["toolCalls", "toolErrors", "writes", "blockedWrites", "costUsd", "inputTokens", "outputTokens"],
  ...["quality", "conversationId", "traceId", "startedAt", "endedAt", "assignedSeq"],
] as const;
const OUTCOME_KEYS = keysOf(OUTCOME_FIELDS);
/** Fields whose text is hardly ever the same twice. */
const IDS: ReadonlySet<number> = new Set(
  (["runId", "conversationId", "traceId", "startedAt", "endedAt"] as const).map((field) =>
    OUTCOME_FIELDS.indexOf(field),
  ),
);
const ALIAS = OUTCOME_FIELDS.indexOf("alias");
const VERSION = OUTCOME_FIELDS.indexOf("version");

/** Texts that are remembered, a power of two: of two that share a place, the later one. */
const KNOWN_TEXTS = 1_024;

interface KnownText {
  readonly text: string;
  /** Made when the text comes again. */
  token: Token | undefined;
}

const NO_BYTES = Buffer.alloc(0);
const NOTHING = new DataView(NO_BYTES.buffer, 0, 0);
/** A text that no field has, because it has no quotes. */
const NO_TOKEN = tokenOf("none");

export class OutcomeFrames {
  #bytes: Buffer = NO_BYTES;
  #view: DataView = NOTHING;
  #end = 0;
  /** Where the next byte to read is. */
  #at = 0;
  /** The last two texts of each field that says the same again and again, such as the versions of two arms. */
  readonly #latest: Token[] = new Array<Token>(2 * OUTCOME_KEYS.length).fill(NO_TOKEN);
  /** By their hash. */
  readonly #known = new Array<KnownText | undefined>(KNOWN_TEXTS).fill(undefined);

  readonly #readAssignment = (): Assignment | undefined => this.#assignment();
  readonly #readOutcome = (): StreamOutcome | undefined => this.#outcome();

  /** The text from `start` to `end`; `undefined` where the decoder has to look at it. Keeps the bytes until other ones come. */
  read(bytes: Buffer, start = 0, end = bytes.length): ReadBatch | undefined {
    if (this.#bytes !== bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    this.#end = end;
    this.#at = start;
    // What follows may be another frame's; whoever read any of it has come too far.
    const batch = this.#batch();
    return this.#at === end ? batch : undefined;
  }

  #batch(): ReadBatch | undefined {
    if (!this.#skip(HEAD)) return undefined;
    const seq = this.#number();
    if (seq === undefined || !Number.isSafeInteger(seq) || seq < 1 || !this.#skip(ASSIGNED)) return undefined;
    const assigned = this.#list(this.#readAssignment, MAX_BATCH_ASSIGNMENTS);
    if (assigned === undefined || !this.#skip(ITEMS)) return undefined;
    const items = this.#list(this.#readOutcome, MAX_BATCH_ITEMS);
    if (items === undefined || !this.#skipByte(CLOSE)) return undefined;
    return { type: "outcomes", seq, assigned, items, areItemsChecked: true };
  }

  #list<Item>(read: () => Item | undefined, maxItems: number): Item[] | undefined {
    if (!this.#skipByte(OPEN_LIST)) return undefined;
    if (this.#skipByte(CLOSE_LIST)) return [];
    const first = read();
    if (first === undefined) return undefined;
    // A list of one: most have no more, and room for more would be garbage.
    const items = [first];
    while (this.#skipByte(COMMA)) {
      const item = read();
      if (item === undefined || items.length === maxItems) return undefined;
      items.push(item);
    }
    return this.#skipByte(CLOSE_LIST) ? items : undefined;
  }

  #assignment(): Assignment | undefined {
    if (!this.#skipByte(OPEN)) return undefined;
    let alias: string | undefined;
    let version: string | undefined;
    let revision: number | undefined;
    let n: number | undefined;
    let key = -1;
    do {
      key = this.#key(ASSIGNMENT_KEYS, key + 1);
      if (key === 0) alias = this.#knownText(ALIAS);
      else if (key === 1) version = this.#knownText(VERSION);
      else if (key === 2) revision = this.#number();
      else if (key === 3) n = this.#number();
      else return undefined;
    } while (this.#skipByte(COMMA));
    return this.#skipByte(CLOSE) ? readAssignment({ alias, version, revision, n }) : undefined;
  }

  #outcome(): StreamOutcome | undefined {
    if (!this.#skipByte(OPEN)) return undefined;
    // All fields, so that every outcome has the same shape for whoever counts it.
    const outcome: Fields = {
      runId: undefined,
      alias: undefined,
      version: undefined,
      arm: undefined,
      status: undefined,
      durationMs: undefined,
      errorType: undefined,
      errorOrigin: undefined,
      toolCalls: undefined,
      toolErrors: undefined,
      writes: undefined,
      blockedWrites: undefined,
      costUsd: undefined,
      inputTokens: undefined,
      outputTokens: undefined,
      quality: undefined,
      conversationId: undefined,
      traceId: undefined,
      startedAt: undefined,
      endedAt: undefined,
      assignedSeq: undefined,
    };
    let key = -1;
    do {
      key = this.#key(OUTCOME_KEYS, key + 1);
      const value = key < 0 ? undefined : this.#value(key);
      if (value === undefined) return undefined;
      put(outcome, OUTCOME_FIELDS[key], value);
    } while (this.#skipByte(COMMA));
    return this.#skipByte(CLOSE) && isStreamOutcome(outcome) ? outcome : undefined;
  }

  /** A plain value; of which type it should be is seen when all fields are there. */
  #value(key: number): string | number | undefined {
    if (this.#bytes[this.#at] !== QUOTE) return this.#number();
    return IDS.has(key) ? this.#text() : this.#knownText(key);
  }

  /** Which of the keys comes, with its colon; -1 where none of them does. They are tried from `first` on. */
  #key(keys: readonly Token[], first: number): number {
    for (let tried = 0, key = first; tried < keys.length; tried++, key++) {
      if (key >= keys.length) key = 0;
      if (this.#skip(keys[key] as Token)) return key;
    }
    return -1;
  }

  /** The text of a field that says the same again and again: one that comes is hardly ever made anew. */
  #knownText(key: number): string | undefined {
    const last = this.#latest[2 * key] as Token;
    if (this.#skip(last)) return last.text;
    const other = this.#latest[2 * key + 1] as Token;
    if (this.#skip(other)) return other.text;
    const start = this.#at;
    const hash = this.#skipText();
    if (hash === undefined) return undefined;
    const place = hash & (KNOWN_TEXTS - 1);
    const known = this.#known[place];
    if (known === undefined || !this.#isText(start, known.text)) {
      const text = this.#textFrom(start);
      // Longer ones can't be right, and short ones have not the bytes of a word.
      if (text.length >= 2 && text.length <= MAX_VERSION_ID_LENGTH) this.#known[place] = { text, token: undefined };
      return text;
    }
    known.token ??= tokenOf(`"${known.text}"`, known.text);
    this.#latest[2 * key + 1] = last;
    this.#latest[2 * key] = known.token;
    return known.text;
  }

  #text(): string | undefined {
    const start = this.#at;
    return this.#skipText() === undefined ? undefined : this.#textFrom(start);
  }

  /** The text that began at `start` with its quote and was read. */
  #textFrom(start: number): string {
    return this.#bytes.toString("latin1", start + 1, this.#at - 1);
  }

  #isText(start: number, text: string): boolean {
    const bytes = this.#bytes;
    if (this.#at - start !== text.length + 2) return false;
    for (let i = 0; i < text.length; i++) if (bytes[start + 1 + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  /** Reads a text with its quotes; `undefined` where it is not plain. Answers a hash of it. */
  #skipText(): number | undefined {
    if (!this.#skipByte(QUOTE)) return undefined;
    const bytes = this.#bytes;
    let at = this.#at;
    let hash = 0;
    for (;;) {
      // Past the end there is no byte, and nothing holds of it.
      const byte = bytes[at] as number;
      if (byte === QUOTE) break;
      if (!(byte > BEFORE_TEXT && byte < AFTER_TEXT) || byte === BACKSLASH) return undefined;
      hash = (Math.imul(hash, 31) + byte) | 0;
      at += 1;
    }
    this.#at = at + 1;
    return hash;
  }

  #number(): number | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let end = start;
    let digits = 0;
    let places = 0;
    let value = 0;
    let byte = bytes[end] as number;
    for (; byte >= ZERO && byte <= NINE; byte = bytes[++end] as number, digits++) value = value * 10 + byte - ZERO;
    if (digits === 0 || (digits > 1 && bytes[start] === ZERO)) return this.#rareNumber();
    if (byte === DOT) {
      byte = bytes[++end] as number;
      for (; byte >= ZERO && byte <= NINE; byte = bytes[++end] as number, places++) value = value * 10 + byte - ZERO;
      if (places === 0) return undefined;
    }
    const isOver = byte === COMMA || byte === CLOSE;
    if (!isOver || digits + places > MAX_EXACT_DIGITS) return this.#rareNumber();
    this.#at = end;
    return places === 0 ? value : value / (POWERS_OF_TEN[places] as number);
  }

  #rareNumber(): number | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let end = start;
    while (end - start <= MAX_NUMBER_LENGTH && bytes[end] !== COMMA && bytes[end] !== CLOSE) end += 1;
    const text = bytes.toString("latin1", start, end);
    if (!NUMBER.test(text)) return undefined;
    this.#at = end;
    return Number(text);
  }

  /** Whether it comes next; if so, it is read. */
  #skip({ length, words }: Token): boolean {
    const at = this.#at;
    if (at + length > this.#end) return false;
    const view = this.#view;
    const last = words.length - 1;
    for (let i = 0; i < last; i++) if (view.getInt32(at + 4 * i, true) !== words[i]) return false;
    if (view.getInt32(at + length - 4, true) !== words[last]) return false;
    this.#at = at + length;
    return true;
  }

  #skipByte(expected: number): boolean {
    if (this.#bytes[this.#at] !== expected) return false;
    this.#at += 1;
    return true;
  }
}

/** Written out, because each place of an object that is found by a constant name is found at once. */
function put(outcome: Fields, field: (typeof OUTCOME_FIELDS)[number] | undefined, value: string | number): void {
  switch (field) {
    case "runId":
      outcome.runId = value;
      return;
    case "alias":
      outcome.alias = value;
      return;
    case "version":
      outcome.version = value;
      return;
    case "arm":
      outcome.arm = value;
      return;
    case "status":
      outcome.status = value;
      return;
    case "durationMs":
      outcome.durationMs = value;
      return;
    case "errorType":
      outcome.errorType = value;
      return;
    case "errorOrigin":
      outcome.errorOrigin = value;
      return;
    case "toolCalls":
      outcome.toolCalls = value;
      return;
    case "toolErrors":
      outcome.toolErrors = value;
      return;
    case "writes":
      outcome.writes = value;
      return;
    case "blockedWrites":
      outcome.blockedWrites = value;
      return;
    case "costUsd":
      outcome.costUsd = value;
      return;
    case "inputTokens":
      outcome.inputTokens = value;
      return;
    case "outputTokens":
      outcome.outputTokens = value;
      return;
    case "quality":
      outcome.quality = value;
      return;
    case "conversationId":
      outcome.conversationId = value;
      return;
    case "traceId":
      outcome.traceId = value;
      return;
    case "startedAt":
      outcome.startedAt = value;
      return;
    case "endedAt":
      outcome.endedAt = value;
      return;
    case "assignedSeq":
      outcome.assignedSeq = value;
      return;
  }
}

function keysOf(fields: readonly string[]): readonly Token[] {
  return fields.map((field) => tokenOf(`"${field}":`));
}

/** Of ASCII, four characters at least. */
function tokenOf(bytes: string, text = bytes): Token {
  const { length } = bytes;
  const buffer = Buffer.from(bytes, "latin1");
  const words = Int32Array.from({ length: Math.ceil(length / 4) }, (_, i) =>
    buffer.readInt32LE(Math.min(4 * i, length - 4)),
  );
  return { text, length, words };
}
