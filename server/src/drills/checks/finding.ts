/** What a check answers: yes or no, and why, in a clause with the values. */
export interface Finding {
  readonly isMet: boolean;
  readonly why: string;
}

/** All of them are met, or the first ones that are not say why. */
export function together(findings: readonly Finding[]): Finding {
  const unmet = findings.filter(({ isMet }) => !isMet);
  const said = unmet.length > 0 ? unmet : findings;
  return { isMet: unmet.length === 0, why: said.map(({ why }) => why).join("; ") };
}
