/** `npm run test:faults`: cli.ts says what it does. */
import { withoutTestRunner } from "../hooks.ts";

withoutTestRunner();
const { main } = await import("./cli.ts");
process.exit(await main(process.argv.slice(2)));
