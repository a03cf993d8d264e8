/**
 * Rules against the tests that quote them. Pure: texts in, ledger out.
 *
 *              quoted by a test    quoted by none
 *   listed     overdue: fail       not yet
 *   otherwise  proven              unproven: fail          listed = in the section "Not yet proven"
 *
 * A quote of a rule that does not exist fails as well: a typo would prove nothing.
 */

export interface Spec {
  /** Rule name -> its line in the text. */
  rules: Map<string, number>;
  notYet: Map<string, number>;
  /** What is wrong with the text itself. */
  faults: string[];
}

export interface Quote {
  rule: string;
  /** `file:line`. */
  where: string;
  title: string;
}

const NOT_YET = "Not yet proven";

/** Reads `- **PU1** text` as a rule; in the section "Not yet proven", every `**PU1**` of a list as an entry. */
export function readSpec(markdown: string): Spec {
  const spec: Spec = { rules: new Map(), notYet: new Map(), faults: [] };
  let section = "";
  for (const [index, line] of markdown.split("\n").entries()) {
    section = /^##\s+(.*?)\s*$/.exec(line)?.[1] ?? section;
    if (!line.startsWith("- ")) continue;
    if (section === NOT_YET) {
      const names = [...line.matchAll(/\*\*([A-Z]+\d+)\*\*/g)].map((match) => match[1] ?? "");
      if (!/:\s*\S/.test(line))
        spec.faults.push(`docs/SPEC.md:${index + 1}  "${NOT_YET}" wants a reason after a colon`);
      for (const name of names) spec.notYet.set(name, index + 1);
    } else {
      const name = /^- \*\*([A-Z]+\d+)\*\* /.exec(line)?.[1];
      if (name === undefined) continue;
      if (spec.rules.has(name)) spec.faults.push(`docs/SPEC.md:${index + 1}  ${name} is there twice`);
      spec.rules.set(name, index + 1);
    }
  }
  for (const [name, line] of spec.notYet) {
    if (!spec.rules.has(name)) spec.faults.push(`docs/SPEC.md:${line}  "${NOT_YET}" names ${name}, which is no rule`);
  }
  if (spec.rules.size === 0) spec.faults.push("docs/SPEC.md  holds no rule");
  return spec;
}

/** The rules that a title quotes: `[PU1]`, `[PU1][PU2]`, `[PU1, PU2]`. */
export function quotedIn(title: string): string[] {
  return [...title.matchAll(/\[([A-Z]+\d+(?:,\s*[A-Z]+\d+)*)\]/g)].flatMap((match) => (match[1] ?? "").split(/,\s*/));
}

export interface Ledger {
  lines: string[];
  failures: string[];
}

export function ledgerOf(spec: Spec, quotes: readonly Quote[]): Ledger {
  const lines: string[] = [];
  const failures = [...spec.faults];
  for (const [rule, line] of spec.rules) {
    const proofs = quotes.filter((quote) => quote.rule === rule);
    const listed = spec.notYet.get(rule);
    if (proofs.length > 0) {
      lines.push(rule, ...proofs.map((proof) => `    ${proof.where}  ${proof.title}`));
      if (listed !== undefined) failures.push(`docs/SPEC.md:${listed}  ${rule} is proven: take it off "${NOT_YET}"`);
    } else if (listed !== undefined) {
      lines.push(`${rule}  not yet`);
    } else {
      lines.push(`${rule}  UNPROVEN`);
      failures.push(`docs/SPEC.md:${line}  no test quotes ${rule}: write test("[${rule}] ...")`);
    }
  }
  for (const quote of quotes) {
    if (!spec.rules.has(quote.rule))
      failures.push(`${quote.where}  quotes ${quote.rule}, which is no rule of docs/SPEC.md`);
  }
  return { lines, failures };
}
