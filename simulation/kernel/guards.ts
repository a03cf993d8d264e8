/**
 * Time and chance of the host, replaced while a world runs by the world's own, so that product code that asks the platform
 * (Durable Objects, the Worker) is on virtual time too, and nothing in the world can depend on the machine. What has no
 * virtual counterpart throws.
 */
import { createHash } from "node:crypto";
import { deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from "node:zlib";
import type { Random } from "./random.ts";
import { cancel, type Event, type Scheduler } from "./scheduler.ts";

const RealDate = Date;

export interface Host {
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** What the gateway's machines take for the time. */
  wallNow(): number;
  print(line: string): void;
  /** What Workers have and Node has not, or has otherwise. */
  readonly globals: Readonly<Record<string, unknown>>;
}

const forbidden = (what: string) => (): never => {
  throw new Error(`${what} is real, and a simulation may not depend on it.`);
};

const uuid = (random: Random): string => {
  const hex = () =>
    Math.floor(random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  const [a, b, c, d] = [hex(), hex(), hex(), hex()];
  return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-8${c.slice(1, 4)}-${c.slice(4)}${d}`;
};

/** Node compresses in threads, which end when they like. */
const compression = (codecs: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>>) =>
  class extends TransformStream<Uint8Array, Uint8Array> {
    constructor(format: string) {
      const chunks: Uint8Array[] = [];
      super({
        transform: (chunk) => void chunks.push(chunk),
        flush: (out) =>
          out.enqueue(new Uint8Array((codecs[format] as (b: Uint8Array) => Uint8Array)(Buffer.concat(chunks)))),
      });
    }
  };

/** What `Blob` is used for: bytes as a stream. Node's own waits for turns of the event loop. */
class SmallBlob {
  readonly #parts: readonly Uint8Array[];
  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
  }
  stream(): ReadableStream<Uint8Array> {
    const parts = this.#parts;
    return new ReadableStream({
      start: (out) => {
        for (const part of parts) out.enqueue(part);
        out.close();
      },
    });
  }
}

/** @returns what gives the host its own time and chance back */
export function takeOver({ scheduler, random, wallNow, print, globals }: Host): () => void {
  class VirtualDate extends RealDate {
    constructor(...args: [] | [number | string | Date]) {
      if (args.length === 0) super(wallNow());
      else super(...(args as [number]));
    }
    static override now(): number {
      return wallNow();
    }
  }
  const digest = async (_: string, bytes: Uint8Array): Promise<ArrayBuffer> => {
    const hash = createHash("sha256").update(bytes).digest();
    return new Uint8Array(hash).buffer;
  };
  const log =
    (level: string) =>
    (...parts: unknown[]) =>
      print(`${level} ${parts.map(String).join(" ")}`);
  const replaced: [object, string, unknown][] = [
    [globalThis, "Date", VirtualDate],
    [globalThis, "setTimeout", (run: () => void, ms = 0) => scheduler.after(ms, run)],
    [globalThis, "clearTimeout", (event: Event | undefined) => event && cancel(event)],
    [globalThis, "setInterval", forbidden("setInterval")],
    [globalThis, "setImmediate", forbidden("setImmediate")],
    [globalThis, "fetch", forbidden("fetch")],
    [Math, "random", random.next],
    [performance, "now", forbidden("performance.now")],
    [crypto, "randomUUID", () => uuid(random)],
    [crypto, "getRandomValues", forbidden("crypto.getRandomValues")],
    [crypto.subtle, "digest", digest],
    [globalThis, "Blob", SmallBlob],
    [globalThis, "CompressionStream", compression({ gzip: gzipSync, "deflate-raw": deflateRawSync })],
    [globalThis, "DecompressionStream", compression({ gzip: gunzipSync, "deflate-raw": inflateRawSync })],
    [console, "log", log("log")],
    [console, "warn", log("warn")],
    [console, "error", log("error")],
    ...Object.entries(globals).map(([name, value]): [object, string, unknown] => [globalThis, name, value]),
  ];
  const kept = replaced.map(([on, name]) => Object.getOwnPropertyDescriptor(on, name));
  for (const [on, name, value] of replaced)
    Object.defineProperty(on, name, { value, configurable: true, writable: true });
  return () => {
    replaced.forEach(([on, name], at) => {
      const before = kept[at];
      if (before) Object.defineProperty(on, name, before);
      else delete (on as Record<string, unknown>)[name]; // it comes from the prototype again
    });
  };
}
