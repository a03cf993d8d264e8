/**
 * Text as databases can keep it. Postgres has no U+0000: it is written as U+FDD0, a code point that means nothing to
 * anybody, and what looks like the writing is marked by U+FDD1 before it.
 */
const SPECIAL = /[\0\ufdd0\ufdd1]/;
const WRITTEN = /[\ufdd0\ufdd1]/;

export const writeText = (text: string): string =>
  SPECIAL.test(text) ? text.replace(/[\0\ufdd0\ufdd1]/g, (c) => (c === "\0" ? "\ufdd0" : `\ufdd1${c}`)) : text;

export const readText = (text: string): string =>
  WRITTEN.test(text) ? text.replace(/\ufdd1?[\ufdd0\ufdd1]/g, (c) => (c === "\ufdd0" ? "\0" : (c[1] as string))) : text;
