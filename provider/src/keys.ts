/**
 * Keys of aliases and kill switches in the types. Every text is one until `flagback typegen` says which there are.
 */

/** The file that `flagback typegen` writes adds `aliases` and `killSwitches` to this, by module augmentation. */
// biome-ignore lint/suspicious/noEmptyInterface: it is here to be augmented
export interface FlagbackKeys {}

/** An alias's name: one that there is, where the project has typed keys. */
export type AliasKey = FlagbackKeys extends { readonly aliases: infer Key extends string } ? Key : string;

/** A kill switch's key: one that there is, where the project has typed keys. */
export type KillSwitchKey = FlagbackKeys extends { readonly killSwitches: infer Key extends string } ? Key : string;
