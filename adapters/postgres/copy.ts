/** COPY FROM STDIN with pg: half the time of an INSERT of the same rows. */
import { Buffer } from "node:buffer";
import pg from "pg";

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const SPECIAL = /[\\\n\r\t]/;

/** A cell in COPY's text format. */
export const copyCell = (text: string | null): string =>
  text === null ? "\\N" : SPECIAL.test(text) ? text.replace(/[\\\n\r\t]/g, (c) => ESCAPES[c] as string) : text;

/** What pg calls back while a COPY is under way; the rest is a query like any other. */
interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

class CopyQuery extends pg.Query {
  readonly #text: string;

  constructor(sql: string, text: string, done: (error: Error | null) => void) {
    super({ text: sql });
    this.#text = text;
    (this as unknown as { callback: typeof done }).callback = done;
  }

  handleCopyInResponse(connection: CopyConnection): void {
    connection.sendCopyFromChunk(Buffer.from(this.#text));
    connection.endCopyFrom();
  }
}

/** @param text lines of cells, each line ended */
export function copyInto(client: pg.ClientBase, target: string, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new CopyQuery(`COPY ${target} FROM STDIN`, text, (error) => (error ? reject(error) : resolve())));
  });
}
