/** The titles of the tests in a file, read from its syntax tree. */
import { argumentOf, isNode, type Node, nodesOf, quasisOf, stringOf } from "../syntax.ts";

export interface Title {
  text: string;
  line: number;
}

const RUNNERS = ["test", "it", "describe", "suite"];
/** A test that does not run proves nothing. */
const IDLE = ["skip", "todo", "skipIf", "runIf"];

/** `test.each(table)` -> ["test", "each"]; undefined where it is no plain chain of names. */
function chain(callee: unknown): string[] | undefined {
  if (!isNode(callee)) return undefined;
  if (callee.type === "Identifier") return [String(callee.name)];
  if (callee.type === "CallExpression") return chain(callee.callee);
  if (callee.type === "TaggedTemplateExpression") return chain(callee.tag);
  if (callee.type !== "MemberExpression" || !isNode(callee.property)) return undefined;
  const names = chain(callee.object);
  return names === undefined ? undefined : [...names, String(callee.property.name)];
}

function titleOf(call: Node): string | undefined {
  const names = chain(call.callee);
  if (names === undefined || !RUNNERS.includes(names[0] ?? "") || names.some((name) => IDLE.includes(name)))
    return undefined;
  const title = argumentOf(call, 0);
  return isNode(title) && title.type === "TemplateLiteral" ? quasisOf(title).join("…") : stringOf(title);
}

/** Titles of `test`, `it`, `describe`, also through `.each` and `.only`; of a template, its fixed parts. */
export function titlesOf(file: string, source: string): Title[] {
  return [...nodesOf(file, source)].flatMap((entry) => {
    const text = entry.node.type === "CallExpression" ? titleOf(entry.node) : undefined;
    return text === undefined ? [] : [{ text, line: entry.line }];
  });
}
