/** `node examples/lake/main.ts`: builds the page, starts a gateway with films in its lake, says where to look. */
import { join } from "node:path";
import { buildPage } from "./build.ts";
import { startLakeExample } from "./gateway.ts";

const assets = join(import.meta.dirname, "dist");
await buildPage(assets);
const { page, stop } = await startLakeExample(assets, { port: 8788 });
console.log(`The lake is at\n\n  ${page}\n\nCtrl-C ends it.`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop());
