/** Something that answers, and how it is asked. */

export interface Contestant {
  readonly name: string;
  /** `client` is OpenFeature's. A direct call is answered at once, unless it says otherwise. */
  readonly through: "client" | "direct" | "direct, a promise";
  /** Share of calls that answer `true`, or the candidate. One that answers something else is not measured. */
  readonly expectedShare: number;
  /** Asks so often; answers how many of the answers were `true`, or the candidate. */
  readonly run: (calls: number) => number | Promise<number>;
}

/** Contestants of one product, ready to be asked. */
export interface Started {
  readonly flags?: readonly Contestant[];
  readonly splits?: readonly Contestant[];
  readonly direct?: readonly Contestant[];
  readonly stop: () => void | Promise<void>;
}

export interface Product {
  readonly name: string;
  readonly start: () => Started | Promise<Started>;
}
