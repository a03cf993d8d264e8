/**
 * memory: 200,000 rows pushed and flushed with V8's heap capped, in the isolate that the Worker, the shard and the flush's
 * consumer share. Past its cap V8 ends the process, so a flush that was answered fits. WebAssembly's memory lies outside of
 * the heap and never shrinks: on Linux it is read from the process's map after the flush, as the largest writable piece
 * before the gigabytes of address space that V8 reserves behind each such memory.
 */
import { readdirSync, readFileSync } from "node:fs";
import { type Bench, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld } from "../harness.ts";
import { Clock, newRow } from "../rows.ts";
import { progress } from "../stats.ts";

const ROWS = 200_000;
/** With parquet-wasm's 15 MB and the buffers of a file this leaves a third of an isolate's 128 MB free. MB. */
const HEAP_MB = 64;
const MB = 1024 * 1024;
const RESERVED = 3 * 1024 * MB;

function workerdPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const [, command, parent] = /\((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
        return command === "workerd" && Number(parent) === process.pid ? [Number(pid)] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}

function wasmBytes(pid: number): number {
  const pieces = [...readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(/^(\w+)-(\w+) (\S+)/gm)].map(
    ([, from, to, mode]) => ({ from: Number.parseInt(from ?? "", 16), to: Number.parseInt(to ?? "", 16), mode }),
  );
  const sizes = pieces.flatMap((piece, at) => {
    const next = pieces[at + 1];
    const reserved = next?.mode === "---p" && next.from === piece.to && next.to - next.from > RESERVED;
    return reserved && piece.mode === "rw-p" ? [piece.to - piece.from] : [];
  });
  return Math.max(0, ...sizes);
}

export const memory: Bench = {
  name: "memory",
  async run() {
    const out = sheet();
    const world = await startWorld({ heapMb: HEAP_MB });
    try {
      progress(`memory: a heap of ${HEAP_MB} MB`);
      const gateway = await Gateway.open(world, "memory");
      const clock = new Clock();
      for (let at = 0; at < ROWS; at += 1000) {
        const edits = Array.from({ length: 1000 }, (_, k) => newRow(at + k, clock, "random"));
        await gateway.push(gateway.encodePush(edits), edits.length);
      }
      const { shards } = await gateway.admin("POST", "flush");
      if (shards[0]?.rows !== ROWS) throw new Error(`The flush ended with ${JSON.stringify(shards)}`);
      out.figure("heapMb", HEAP_MB, "MB at most");
      if (process.platform !== "linux") return out;
      const wasm = Math.max(...workerdPids().map(wasmBytes)) / MB;
      out.figure("wasmMb", wasm, "MB");
      out.figure("heapAndWasmMb", HEAP_MB + wasm, "MB at most");
    } finally {
      await world.stop();
    }
    return out;
  },
};
