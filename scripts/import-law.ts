/** `npm run law`: prints every import that breaks the law of the house (scripts/law/house.ts), and fails if there is one. */
import { join } from "node:path";
import { breaches } from "./law/check.ts";

const broken = breaches(join(import.meta.dirname, ".."));
for (const line of broken) console.error(line);
console.log(broken.length === 0 ? "the import law is kept" : `${broken.length} imports break the law`);
process.exitCode = broken.length === 0 ? 0 : 1;
