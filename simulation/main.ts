/** `npm run sim`: puts the hooks in before anything of the product is loaded (hooks.ts), then cli.ts does what it is told. */
import { bugNamed } from "./bugs/list.ts";
import { installHooks } from "./hooks.ts";

const at = process.argv.indexOf("--bug");
installHooks(at < 0 ? undefined : bugNamed(process.argv[at + 1] ?? ""));
const { main } = await import("./cli.ts");
process.exitCode = await main(process.argv.slice(2));
