/** A device in a process of its own: `node device.ts <path> <rows> <gateway as JSON>` prints its time and what its memory grew by. */
import { type Gateway, ours } from "./page.ts";

const [path = "", rows = "", gateway = ""] = process.argv.slice(2);
const before = process.memoryUsage().rss;
let peak = before;
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss);
}, 20);
const { ms, bytes } = await ours(
  { name: "device", backend: "file", path },
  JSON.parse(gateway) as Gateway,
  Number(rows),
);
clearInterval(watch);
console.log(JSON.stringify({ ms, bytes, growthMb: (peak - before) / 1024 / 1024 }));
