/** HTTP as cheap as Node has it, on connections that stay open: the client must not be what is measured. */
import { Agent, type IncomingMessage, request } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

interface Reply {
  readonly status: number;
  readonly body: Buffer;
}

function send(
  method: string,
  url: URL,
  headers: Readonly<Record<string, string>> = {},
  body?: Uint8Array | string,
): Promise<Reply> {
  return new Promise((done, fail) => {
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const outgoing = request(
      url.href,
      { method, agent, headers: { ...headers, ...length } },
      (incoming: IncomingMessage) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("end", () => done({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks) }));
        incoming.on("error", fail);
      },
    );
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      // The other side closed a connection that was idle, just as it was taken up again: nothing was read of the request.
      if (outgoing.reusedSocket && error.code === "ECONNRESET") send(method, url, headers, body).then(done, fail);
      else fail(error);
    });
    outgoing.end(body);
  });
}

/** Likewise; anything but a 200 ends the benchmark. @returns the body */
export async function sendOk(...request: Parameters<typeof send>): Promise<Buffer> {
  const { status, body } = await send(...request);
  if (status === 200) return body;
  throw new Error(`${request[1].pathname} answered ${status}: ${body.toString("utf8").slice(0, 500)}`);
}

/** Closes the open connections, so that the process can end. */
export const hangUp = (): void => agent.destroy();
