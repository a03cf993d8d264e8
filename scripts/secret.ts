/** The development secret: `JWT_SECRET` of `.dev.vars`, which wrangler reads too and git does not. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DEV_VARS = join(import.meta.dirname, "..", ".dev.vars");

/** undefined where there is none yet */
export function developmentSecret(): string | undefined {
  if (!existsSync(DEV_VARS)) return undefined;
  const line = /^\s*JWT_SECRET\s*=\s*(.*?)\s*$/m.exec(readFileSync(DEV_VARS, "utf8"))?.[1];
  return line?.replace(/^(["'])(.*)\1$/, "$2");
}

/** Makes the secret on the first run. */
export function ensureSecret(): void {
  if (developmentSecret() !== undefined) return;
  const before = existsSync(DEV_VARS) ? `${readFileSync(DEV_VARS, "utf8").trimEnd()}\n` : "";
  writeFileSync(DEV_VARS, `${before}JWT_SECRET=${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
}
