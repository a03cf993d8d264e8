/** TypeScript as a syntax tree, for the scripts that ask about source rather than run it. */
import { parseSync } from "oxc-parser";

export interface Node {
  type: string;
  start: number;
  [key: string]: unknown;
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

/** Every node of a file in source order, each with its line. Throws where the file is not TypeScript. */
export function* nodesOf(file: string, source: string): Generator<{ node: Node; line: number }> {
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new SyntaxError(`${file}: ${errors[0]?.message}`);
  const lineOf = (node: Node) => source.slice(0, node.start).split("\n").length;
  const pending: unknown[] = [program];
  while (pending.length > 0) {
    const value = pending.pop();
    if (Array.isArray(value)) pending.push(...value.toReversed());
    else if (isNode(value)) {
      yield {
        node: value,
        get line() {
          return lineOf(value);
        },
      };
      pending.push(...Object.values(value).toReversed());
    }
  }
}

/** The value of a string literal, or of a template without holes. */
export function stringOf(value: unknown): string | undefined {
  if (!isNode(value)) return undefined;
  if (value.type === "Literal" && typeof value.value === "string") return value.value;
  if (value.type === "TSLiteralType") return stringOf(value.literal);
  if (value.type !== "TemplateLiteral") return undefined;
  const quasis = quasisOf(value);
  return quasis.length === 1 ? quasis[0] : undefined;
}

/** The fixed parts of a template literal. */
export function quasisOf(template: Node): string[] {
  return (template.quasis as { value: { cooked: string } }[]).map((quasi) => quasi.value.cooked);
}

export function argumentOf(call: Node, index: number): unknown {
  return (call.arguments as unknown[] | undefined)?.[index];
}
