/** A small disk of its own, so that it can be full: a tmpfs where we may mount one. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { open, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEGABYTES = 3072;

export class SmallDisk {
  readonly path: string;
  /** Without the right to mount it is a folder like any other, and is never full. */
  readonly mounted: boolean;

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), "lakesync-faults-"));
    this.mounted = mount(this.path);
  }

  /** Takes all the space that is left. @returns gives it back */
  async fill(): Promise<() => Promise<void>> {
    if (!this.mounted) return async () => undefined;
    const ballast = join(this.path, "ballast");
    const file = await open(ballast, "w");
    try {
      const zeros = Buffer.alloc(4 << 20);
      const { bavail, bsize } = await statfs(this.path);
      for (let left = bavail * bsize + zeros.length; left > 0; left -= zeros.length) await file.write(zeros);
    } catch {
      // No space left: as it should be.
    } finally {
      await file.close();
    }
    return () => rm(ballast, { force: true });
  }

  remove(): void {
    if (this.mounted) execFileSync("umount", ["-l", this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function mount(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${MEGABYTES}m`, "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
