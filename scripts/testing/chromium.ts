/**
 * The Chromium for `*.web.test.ts`. It comes compressed inside an npm package, so that no browser has to be installed:
 *
 *   node_modules/@sparticuz/chromium/bin/*.br  ->  .cache/chromium-<version>/chromium
 *
 * Unpacked once per version. The directory appears by a rename, so two runs at once never see half a browser.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import chromium from "@sparticuz/chromium";

const root = join(import.meta.dirname, "../..");
const { version } = JSON.parse(readFileSync(join(root, "node_modules/@sparticuz/chromium/package.json"), "utf8"));
const home = join(root, ".cache", `chromium-${version}`);

/**
 * One process for everything is a concession to AWS Lambda; here a crashing worker must not take the browser along. A GPU
 * that is emulated on the processor paints ten times slower than no GPU.
 */
const UNWANTED = /^--(single-process|in-process-gpu|ignore-gpu-blocklist|enable-unsafe-swiftshader|use-gl=|use-angle=)/;

interface LaunchOptions {
  executablePath: string;
  args: string[];
  env: Record<string, string>;
}

/** Options for playwright's `launch`. The path exists once `unpackChromium` has run. */
export function chromiumLaunchOptions(): LaunchOptions {
  return {
    executablePath: join(home, "chromium"),
    args: [...chromium.args.filter((flag) => !UNWANTED.test(flag)), "--disable-gpu"],
    // The package carries NSS as well; the loader looks there first, which a bare machine without NSS needs.
    env: { ...definedEnv(), LD_LIBRARY_PATH: join(home, "al2023", "lib"), FONTCONFIG_PATH: join(home, "fonts") },
  };
}

function definedEnv(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])));
}

/** Unpacks the browser unless it is there. */
export function unpackChromium(): void {
  if (!existsSync(home)) unpack();
  // The package's own configuration looks for its fonts in AWS Lambda; a page without any font has no text, and may crash.
  const fonts = join(home, "fonts");
  const cache = join(home, "fonts-cache");
  const configuration = `<fontconfig><dir>${join(fonts, "fonts")}</dir><cachedir>${cache}</cachedir></fontconfig>\n`;
  writeFileSync(join(fonts, "fonts.conf"), configuration);
}

function unpack(): void {
  mkdirSync(join(root, ".cache"), { recursive: true });
  const partial = mkdtempSync(`${home}.partial-`);
  // The package unpacks into the temporary directory, and its libraries only where it believes to be in AWS Lambda:
  // a process of its own keeps both beliefs away from ours.
  execFileSync(process.execPath, ["-e", 'import("@sparticuz/chromium").then((m) => m.default.executablePath())'], {
    cwd: root,
    env: { ...process.env, TMPDIR: partial, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    renameSync(partial, home);
  } catch (error) {
    // Another run was faster: its browser is as good as ours.
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(home)) throw error;
  }
}

/** vitest's global set-up of the web project. */
export function setup(): void {
  unpackChromium();
}
