/** `npm run build`: the package as it is published, in dist/: compiled modules, their types, generated code, nothing else. */
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

rmSync(join(ROOT, "dist"), { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { cwd: ROOT, stdio: "inherit" });
cpSync(join(ROOT, "schemas", "gen"), join(ROOT, "dist", "schemas", "gen"), { recursive: true });
